"""Configuration: the cell and its identity, YAML files, overrides, help texts. No torch."""
