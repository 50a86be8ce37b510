"""Writes tables as text, Markdown, LaTeX, CSV and JSON."""
