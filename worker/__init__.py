"""The RQ workers: drains that turn raw events into signals in PostgreSQL and documents in Elasticsearch."""
