"""What tenants read: events, signals, customers, search, usage."""
