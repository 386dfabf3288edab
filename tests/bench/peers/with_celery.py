"""A job per event by Celery on Redis, as its documentation has it.

The pool (prefork, as many processes as cores), JSON and early acknowledgement are the defaults. "Optimizing" advises a
prefetch multiplier of 64 or 128 where many short tasks are to be got through, and "Tasks" to ignore results that
nobody reads.
"""

import os

from celery import Celery

from peers import work
from peers.endpoint import make_app

celery = Celery("peers.with_celery", broker=os.environ["REDIS_URL"])
celery.conf.update(
    worker_prefetch_multiplier=64,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
)

process = celery.task(work.process, name="process")

app = make_app(process.delay)
