"""The server's own state as a backup, and a new server made of backups."""
