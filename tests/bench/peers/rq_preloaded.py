"""RQ's forking worker in a script of one's own that imports before the fork, as its documentation advises for speed."""

import os

from redis import Redis
from rq import Worker

import peers.work  # noqa: F401 - each fork finds it imported

Worker(["events"], connection=Redis.from_url(os.environ["REDIS_URL"]), serializer="json").work()
