"""Carries MCP: over HTTP, over lines of JSON, for each session."""
