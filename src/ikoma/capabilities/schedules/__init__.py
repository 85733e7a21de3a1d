"""What an app does by the clock."""
