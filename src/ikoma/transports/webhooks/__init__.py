"""The webhooks' door: git hosts tell of pushes."""
