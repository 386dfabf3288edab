"""From raw record to valid event, or to a refusal with its reason."""
