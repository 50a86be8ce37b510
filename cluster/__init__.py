"""The same sweep on SLURM: submission, tasks on compute nodes, Ray inside an allocation."""
