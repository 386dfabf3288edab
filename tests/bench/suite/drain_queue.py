"""The stage of one ingest worker: works off what is queued and tells on its last line how long that took.

Nothing is around it: no RQ, and no drain with its marks in Redis and its housekeeping once a second.

Run by the scenarios in a process of its own, with a worker's environment: ``python drain_queue.py``.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from common.interpreter import settle
from common.logging import configure_logging
from common.services import open_services
from common.settings import load_settings
from suite.usage import own_peak_mebibytes
from worker.stages import Stages
from worker.worker import YOUNG_OBJECTS


def main() -> None:
    """Drain, then print ``{"seconds": …, "cpu_seconds": …, "batches": …, "peak_mebibytes": …}``."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    settle(young_objects=YOUNG_OBJECTS)
    with open_services(settings, application="sspp-bench") as services:
        stage = Stages(services).build("ingest", "bench")
        with services.pool.connection():
            pass  # opened before the clock starts
        started, cpu_started = time.perf_counter(), time.process_time()
        batches = 0
        while stage.step(0):
            batches += 1
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
        stage.close()
    told = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "batches": batches,
        "peak_mebibytes": own_peak_mebibytes(),
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
