"""POST /v1/events: from the request's body to what is on disk in Redis."""
