-- stops: insufficient_privilege
SELECT * FROM pg_ls_waldir();
