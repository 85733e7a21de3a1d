-- stops: code:sql_failed
/* COMMIT */ CREATE TABLE kept (); /**/ COMMIT /**/ ; BEGIN;
