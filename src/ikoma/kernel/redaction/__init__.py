"""Takes known secrets out of whatever leaves."""
