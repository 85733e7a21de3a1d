-- stops: cant_change_runtime_param
SET max_connections = 1;
