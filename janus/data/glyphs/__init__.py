"""The bundled bench of glyphs."""
