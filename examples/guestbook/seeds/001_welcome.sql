-- The first two entries, unless somebody has written already.
INSERT INTO entries (name, message, mood)
SELECT name, message, mood
FROM (VALUES
    ('Ada', 'First entry! What a tidy little server.', '🎉'),
    ('Grace', 'Deployed before my tea was ready.', '🚀')
) AS welcome (name, message, mood)
WHERE NOT EXISTS (SELECT FROM entries);
