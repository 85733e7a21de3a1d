-- stops: insufficient_privilege
-- via: query
SELECT set_config('role', 'bank', true)
