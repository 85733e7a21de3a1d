"""Reads the model that Compose made of an app's files: services, mounts, builds, ports, and the x-ikoma block."""
