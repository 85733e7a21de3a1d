"""Reads the YAML that people wrote before Compose does: which files, which lines, nothing outside the folder."""
