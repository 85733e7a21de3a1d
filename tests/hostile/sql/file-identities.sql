-- stops: insufficient_privilege
SELECT * FROM pg_ident_file_mappings;
