-- stops: insufficient_privilege
-- via: query
SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000))
