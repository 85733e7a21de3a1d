"""Backups of whole apps."""
