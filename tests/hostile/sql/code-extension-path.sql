-- stops: insufficient_privilege
SET extension_control_path = '{folder}';
