-- stops: feature_not_supported
DO $$ BEGIN EXECUTE 'COPY (SELECT 1) TO STDOUT'; END $$;
