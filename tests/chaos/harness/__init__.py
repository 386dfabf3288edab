"""What `make chaos` is made of: a stack that dies, a load that does not care, and an oracle that counts."""
