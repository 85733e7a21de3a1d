"""Brings an app's source from git: addresses, keys, checkouts, submodules, LFS, webhooks."""
