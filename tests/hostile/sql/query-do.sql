-- stops: code:not_a_query
-- via: query
DO $$ BEGIN END $$
