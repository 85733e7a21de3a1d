-- harmless: the limits are there in every session
-- via: query
-- expect: => [["2GB", 50]]
SELECT current_setting('temp_file_limit'), rolconnlimit FROM pg_roles WHERE rolname = current_user
