"""From one major version of PostgreSQL to the next, on a copy (docs/decisions/044)."""
