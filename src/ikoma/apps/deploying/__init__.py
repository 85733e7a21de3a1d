"""Deploys, rolls back and plans: each deploy is a release with a record, a tree and an end."""
