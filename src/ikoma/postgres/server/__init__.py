"""Runs PostgreSQL, or knows the one that somebody else runs."""
