-- stops: insufficient_privilege
COPY (SELECT 'x') TO PROGRAM 'touch {folder}/written';
