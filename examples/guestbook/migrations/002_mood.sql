-- How they feel: one emoji. Entries from before waved.
ALTER TABLE entries ADD COLUMN mood text NOT NULL DEFAULT '👋' CHECK (char_length(mood) BETWEEN 1 AND 8);
