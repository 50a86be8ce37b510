"""From finished runs to tables with honest statistics. Reads files; never imports torch."""
