"""The machine: devices, deterministic computation, memory, provenance."""
