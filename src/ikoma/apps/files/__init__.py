"""Reads and writes an app's own files from outside, and keeps what they were."""
