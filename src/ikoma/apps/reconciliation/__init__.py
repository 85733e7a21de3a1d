"""Brings apps back to what their records say, while nobody calls."""
