"""The same sweep on SLURM. Not built yet."""
