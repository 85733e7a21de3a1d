"""Commands that start, stop and reach the server itself."""
