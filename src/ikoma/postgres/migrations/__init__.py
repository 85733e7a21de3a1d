"""Applies migrations and reads what they would do: locks, losses, refusals."""
