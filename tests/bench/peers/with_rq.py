"""A job per event by RQ: the JSON serializer, since its documentation warns of pickle, and no result to keep."""

import os

from redis import Redis
from rq import Queue

from peers.endpoint import make_app

_queue = Queue("events", connection=Redis.from_url(os.environ["REDIS_URL"]), serializer="json")


def _enqueue(raw: str, received_at: str) -> None:
    _queue.enqueue("peers.work.process", raw, received_at, result_ttl=0)


app = make_app(_enqueue)
