-- stops: insufficient_privilege
SELECT pg_import_system_collations('pg_catalog');
