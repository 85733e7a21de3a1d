"""Keeps base backups and the write-ahead log of the whole server, and goes back to a second of one app's database."""
