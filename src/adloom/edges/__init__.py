"""The outside systems, one file each; their libraries are imported nowhere else."""
