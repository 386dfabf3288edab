"""The index stage: from the outbox into Elasticsearch, and back again what that lost."""
