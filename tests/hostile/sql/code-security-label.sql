-- stops: invalid_parameter_value
SECURITY LABEL ON ROLE ikoma IS 'x';
