"""Talks to Docker's API: containers, logs, volumes, images, networks."""
