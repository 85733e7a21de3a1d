-- stops: insufficient_privilege
SELECT subconninfo FROM pg_subscription;
