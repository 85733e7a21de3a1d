-- stops: insufficient_privilege
SELECT * FROM pg_hba_file_rules;
