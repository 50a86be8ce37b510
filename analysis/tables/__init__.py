"""Builds the comparison table, its notes and its cautions."""
