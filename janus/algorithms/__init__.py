"""Algorithms that methods share: losses, subspaces, rectification, ridge regression, k-means."""
