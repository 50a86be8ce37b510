"""Reads finished runs, filters them, and checks that they can be compared."""
