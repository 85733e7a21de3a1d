"""What an app does by the clock: its schedules, when each is due, its runs, and the backups that it keeps."""
