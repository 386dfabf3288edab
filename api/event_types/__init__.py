"""What events may look like: the platform's types and the tenants' own."""
