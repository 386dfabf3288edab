"""What a maintenance worker measures for those who watch: the stores, the queue and the tenants as a whole."""
