-- stops: insufficient_privilege
SET allow_system_table_mods = on;
