-- stops: feature_not_supported
-- via: query
CREATE TABLE t (a int);
-- then query
WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone
