-- stops: insufficient_privilege
COPY (SELECT 'x') TO '{folder}/written';
