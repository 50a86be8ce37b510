"""A real SLURM of several virtual nodes on one machine, and the tests that need it."""
