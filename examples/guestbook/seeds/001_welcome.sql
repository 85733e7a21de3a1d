INSERT INTO entries (name, message, mood) VALUES
    ('Ada', 'First entry! What a tidy little server.', '🎉'),
    ('Grace', 'Deployed before my tea was ready.', '🚀');
