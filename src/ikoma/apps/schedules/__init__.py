"""Schedules: backups and commands by the clock, their runs, and the backups that are kept."""
