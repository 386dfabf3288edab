"""PostgreSQL: connections, error translation and named SQL files."""
