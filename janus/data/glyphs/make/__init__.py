"""Draws the glyphs again and pretrains their backbone; not imported at run time."""
