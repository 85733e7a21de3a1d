"""Writes and proves the audit log: its chain, its head, its anchors."""
