"""Schema migrations, seed data and partition upkeep."""
