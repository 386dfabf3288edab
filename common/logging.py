"""Structured logs of every process: constant event names, bound ids, one line each."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import structlog
from structlog.tracebacks import ExceptionDictTransformer


def configure_logging(level: str, log_format: Literal["json", "console"]) -> None:
    """Send structlog and the standard library's loggers to stdout in one format.

    `level` is the least severe level shown. What was bound with `structlog.contextvars` (request_id, batch_id,
    trace_id) is on every line that the same context writes.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format == "json":
        tail: list[structlog.typing.Processor] = [
            # Without local variables: they hold keys, passwords and what customers wrote.
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        ]
    else:
        colors = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        tail = [
            structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
        ]

    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        # What is below the level costs a call that returns at once; the processor above heeds the noisy ones' levels.
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Libraries that narrate each request drown what matters.
    for noisy in ("elastic_transport", "httpx", "httpcore", "urllib3", "psycopg.pool"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


@contextmanager
def unbound_contextvars(*names: str) -> Iterator[None]:
    """Leave these bound names off the lines that are written within."""
    bound = structlog.contextvars.get_contextvars()
    structlog.contextvars.unbind_contextvars(*names)
    try:
        yield
    finally:
        structlog.contextvars.bind_contextvars(**{name: bound[name] for name in names if name in bound})
