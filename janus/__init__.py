"""Janus: sweeps and benchmarks for continual learning with low-rank adapters on ViTs."""

__version__ = "0.1.0"
