"""The edges and the vocabulary that the API and the workers share."""
