"""Removed apps: the trash that keeps them, and the way back out of it."""
