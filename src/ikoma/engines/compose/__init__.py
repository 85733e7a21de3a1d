"""Runs Docker Compose: argument lists, staging, progress, failures, the order of starts."""
