"""The whole server: its folders, its parts put together, and its work in the background."""
