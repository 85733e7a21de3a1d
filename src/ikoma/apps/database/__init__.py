"""An app's database from the side of the app: credentials, variables, migration files, backups, ways back."""
