"""What lets real MCP clients check our adapter: the clients, the fixtures they call for, and a bare server."""
