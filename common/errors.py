"""The platform's failures. Their docstrings are the messages; drivers' errors are translated at the edge."""

from typing import ClassVar


class SsppError(Exception):
    """Something went wrong in the platform."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, detail: str = "") -> None:
        self.detail = detail or (type(self).__doc__ or "").strip()
        super().__init__(self.detail)


class SettingsError(SsppError):
    """The environment lacks a setting, or a value is wrong; see .env.example."""

    code = "invalid_settings"


class TransientError(SsppError):
    """A store is away or busy; the same work is tried again later and loses nothing."""

    code = "temporarily_unavailable"


class QueueUnavailableError(TransientError):
    """Redis cannot be reached or refuses writes, so nothing can be acknowledged; try again shortly."""

    code = "queue_unavailable"


class DatabaseUnavailableError(TransientError):
    """PostgreSQL cannot be reached or is busy; try again shortly."""

    code = "database_unavailable"


class SearchUnavailableError(TransientError):
    """Elasticsearch cannot be reached or is busy; everything but search goes on."""

    code = "search_unavailable"


class InvalidEventError(SsppError):
    """One event is refused: for good, with a stable code, and without harm to its neighbours.

    `code` is stable and for machines, `detail` is for people, `path` is a JSON Pointer (RFC 6901) to the
    offending field, empty where the event as a whole is meant.
    """

    def __init__(self, code: str, detail: str, path: str = "") -> None:
        super().__init__(detail)
        self.code = code  # type: ignore[misc]  # one class carries all refusal codes
        self.path = path
