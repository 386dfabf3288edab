"""The queue between the API and the workers: Redis Streams, what is counted of them, and who takes from them."""
