-- stops: insufficient_privilege
CREATE TABLE taken (line text);
COPY taken FROM PROGRAM 'cat {file}';
