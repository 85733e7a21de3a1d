"""Resolves an app's files: what Compose makes of them, which service is routed, what is taken instead of what."""
