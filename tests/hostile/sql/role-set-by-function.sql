-- stops: insufficient_privilege
SELECT set_config('role', 'ikoma', false);
