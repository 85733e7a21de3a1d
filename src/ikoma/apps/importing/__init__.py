"""Takes over apps that already run on this machine as plain Compose projects; the old one is kept."""
