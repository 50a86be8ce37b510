"""Weight files: find, read, map to timm's names, check, convert."""
