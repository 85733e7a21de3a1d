-- harmless: nor is it by the function beneath
-- via: query
-- expect: => [[0]]
SELECT count(*) FROM pg_stat_get_backend_idset() AS id WHERE pg_stat_get_backend_activity(id) LIKE '%canary-%' AND pg_stat_get_backend_userid(id) <> current_user::regrole
