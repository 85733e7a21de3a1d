-- stops: invalid_parameter_value
CREATE EXTENSION "../../evil";
