"""The records of releases, and what is on the disk of the rollout that serves."""
