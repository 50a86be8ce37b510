"""Blocks below and beside the table: grids of text for details, images and published figures."""
