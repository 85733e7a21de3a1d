-- stops: insufficient_privilege
CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER e ON login EXECUTE FUNCTION f();
