-- stops: insufficient_privilege
SELECT pg_logical_emit_message(true, 'x', '\x00'::bytea);
