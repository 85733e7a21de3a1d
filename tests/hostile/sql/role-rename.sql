-- stops: feature_not_supported
ALTER ROLE shop RENAME TO other;
