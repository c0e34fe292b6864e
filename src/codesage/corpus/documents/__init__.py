"""Sources to clean documents: what is read, what is left out, and secrets masked."""
