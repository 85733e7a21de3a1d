"""Dumps, proves and restores an app's database."""
