"""What the benchmark suite is made of; `run.py` beside it runs it."""
