"""Knows which values are secrets: of one app, and of all apps."""
