"""A job per event by Dramatiq on Redis, as its guide has it.

As many processes as cores with eight threads each, JSON, acknowledgement after the work, retries with back-off and no
results are the defaults.
"""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from peers import work
from peers.endpoint import make_app

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))

process = dramatiq.actor(work.process)

app = make_app(process.send)
