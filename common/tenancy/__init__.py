"""Tenants and their API keys: one set of rules for the command line and the API."""
