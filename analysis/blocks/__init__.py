"""Builds blocks (grids of text with notes): table, details, single images, published figures."""
