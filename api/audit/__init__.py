"""The log of API calls: written off the request's path, and read."""
