"""Image files: checks, splits, downloads, decoded and memory-mapped copies."""
