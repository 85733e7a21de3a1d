"""Copies of backups off this machine."""
