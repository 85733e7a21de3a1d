"""IKOMA: deploy and run Docker Compose applications with PostgreSQL on your own server, without a shell."""

__version__ = "0.1.0"
