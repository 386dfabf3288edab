"""What requests ask of PostgreSQL, always as one tenant."""
