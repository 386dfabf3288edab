"""The HTTP API: authenticates, checks the envelope, and acknowledges what is durable in Redis."""
