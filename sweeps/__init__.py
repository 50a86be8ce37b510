"""Sweeps: plan cells, run the open ones on Ray Tune, watch them, say what is missing."""
