-- stops: insufficient_privilege
CREATE LANGUAGE evil HANDLER plpgsql_call_handler;
