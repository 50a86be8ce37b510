"""Compares finished runs: tables, statistics, figures, report. Reads files; never imports torch."""
