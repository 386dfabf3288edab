"""The ingest stage: from the lanes of Redis into PostgreSQL."""
