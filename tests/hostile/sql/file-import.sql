-- stops: insufficient_privilege
SELECT lo_import('{file}');
