-- stops: insufficient_privilege
SET dynamic_library_path = '{folder}';
