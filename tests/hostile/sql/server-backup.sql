-- stops: insufficient_privilege
SELECT pg_backup_start('x');
