"""Services with a role of their own: jobs, the release command, databases and caches."""
