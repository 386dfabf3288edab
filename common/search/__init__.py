"""Elasticsearch: the client, the index template, the documents and the bulk writer."""
