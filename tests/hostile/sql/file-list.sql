-- stops: insufficient_privilege
SELECT pg_ls_dir('{folder}');
