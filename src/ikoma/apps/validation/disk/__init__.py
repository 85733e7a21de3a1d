"""Findings about what is on the disk: room, folders, owners, files that are missing."""
