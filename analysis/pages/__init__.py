"""Writes the HTML report and REPRODUCIBILITY.md."""
