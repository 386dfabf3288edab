"""What people would use instead: a FastAPI endpoint that enqueues one job per event, by four different means."""
