"""Runs statements for callers and people, with bounds on what comes back."""
