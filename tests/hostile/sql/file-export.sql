-- stops: insufficient_privilege
SELECT lo_export(lo_from_bytea(0, 'x'), '{folder}/written');
