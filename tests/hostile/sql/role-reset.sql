-- harmless: it never was another
-- via: seed
-- expect: TABLE who => [["shop", "shop"]]
RESET SESSION AUTHORIZATION; RESET ROLE; CREATE TABLE who AS SELECT session_user::text, current_user::text AS me;
