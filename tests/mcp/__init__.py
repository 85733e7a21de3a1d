"""Tools to check our adapter with real MCP clients: the clients, the fixtures they call for, and a bare server."""
