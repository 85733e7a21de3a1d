"""Adapts the compose files that people bring to this platform: what findings name, where a program can change it."""
