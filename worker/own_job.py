"""RQ jobs as far as we let Redis say: JSON that names a function of `worker.jobs`, and nothing else that RQ would call.

RQ believes whatever stands in Redis: it unpickles, imports and calls what a job names, its callbacks too, and asks any
address for a job's webhooks. Whoever may write to Redis would be whoever runs the workers.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import isfunction
from typing import Any, ClassVar

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq.exceptions import NoSuchJobError, StopRequested
from rq.executions import Execution, ExecutionRegistry
from rq.job import Job
from rq.serializers import JSONSerializer

JOBS_MODULE = "worker.jobs"
"""Its public functions are the only ones that RQ may run."""

_NEVER_OURS = (b"success_callback_name", b"failure_callback_name", b"stopped_callback_name", b"webhooks")

# Ours have some hundred bytes, and some thousand with a traceback. RQ unpacks such fields (zlib) up to a thousandfold.
_MAX_FIELD_BYTES = 64 * 1024

log = structlog.get_logger(__name__)


class _KnownExecutions(ExecutionRegistry):
    """The executions of a job that Redis still knows.

    RQ keeps the record of an execution for as long as a drain should take. Where a job takes longer (upkeep has no
    limit, and any waits while the database is away), RQ would fail at the missing record when it clears up after it.
    """

    def get_executions(self, start: int = 0, end: int = -1) -> list[Execution]:
        """See `rq.executions.ExecutionRegistry`."""
        known = []
        for execution_id in self.get_execution_ids(start, end):
            try:
                known.append(Execution.fetch(execution_id, self.job_id, self.connection))
            except ValueError:
                self.connection.zrem(self.key, execution_id)
                log.info("job_outlived_its_record", job_id=self.job_id)
        return known


class OwnJob(Job):
    """A job of ours. To RQ any other does not exist: it is logged, counted, and removed from Redis when it is read."""

    count_refused: ClassVar[Callable[[], None]] = staticmethod(lambda: None)
    """Called for each job that is refused. RQ makes its jobs by itself, so the class has to know."""

    def __init__(
        self,
        id: str | None = None,  # noqa: A002  # RQ calls it so
        connection: Redis | None = None,
        serializer: object = None,  # noqa: ARG002  # whoever asks for another
    ) -> None:
        super().__init__(id, connection, JSONSerializer)

    @property
    def execution_registry(self) -> ExecutionRegistry:
        """Without the executions that Redis has forgotten."""
        return _KnownExecutions(self.id, self.connection)

    def restore(self, raw_data: Mapping[bytes, bytes]) -> None:
        """Take over what Redis says.

        Raises:
            NoSuchJobError: it is none of ours.
        """
        try:
            why = _foreign_field(raw_data)
            if why is None:
                super().restore(raw_data)
                why = self._foreign_call()
        except (
            NoSuchJobError,
            RedisError,
            StopRequested,
        ):  # a signal's handler may raise the last one anywhere
            raise
        except Exception as error:  # noqa: BLE001  # whatever RQ's parsers make of bytes that RQ did not write
            why = f"unreadable ({type(error).__name__})"
        if why is not None:
            log.error("job_refused", job_id=self.id, why=why)
            type(self).count_refused()
            self.connection.delete(self.key)
            raise NoSuchJobError(why)

    def _foreign_call(self) -> str | None:
        name: Any = self.func_name
        if not is_job_function(name):
            return f"it is to call {str(name)[:100]!r}"
        if self.instance is not None:
            return "it is to call a method"
        return None


def is_job_function(name: object) -> bool:
    """Whether `name` is the full name of a function that workers may run."""
    if not isinstance(name, str):
        return False
    module, _, attribute = name.rpartition(".")
    if module != JOBS_MODULE or attribute.startswith("_"):
        return False
    function = getattr(import_module(JOBS_MODULE), attribute, None)
    return isfunction(function) and function.__module__ == JOBS_MODULE  # not what it imports


def _foreign_field(raw_data: Mapping[bytes, bytes]) -> str | None:
    for name, value in raw_data.items():
        if len(value) > _MAX_FIELD_BYTES:
            return f"a field of {len(value)} bytes"
        if value and name in _NEVER_OURS:
            return f"it has {name.decode()}"
    return None
