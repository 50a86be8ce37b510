"""Reads published figures, matches them to our rows, and compares our figures with them."""
