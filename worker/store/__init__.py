"""A batch of valid events becomes rows, each once."""
