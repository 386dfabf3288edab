"""Looking after the search index: rebuilding it from PostgreSQL, comparing the two."""
