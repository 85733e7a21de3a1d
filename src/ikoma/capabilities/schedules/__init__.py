"""Schedules of an app."""
