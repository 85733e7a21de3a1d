-- stops: feature_not_supported
SELECT * FROM bank.public.accounts;
