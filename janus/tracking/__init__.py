"""Observers of a run: progress on the terminal, Weights & Biases."""
