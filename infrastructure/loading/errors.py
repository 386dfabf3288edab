"""The failures that end a load. A row that fails does not: it is counted and the load goes on."""

from common.errors import SsppError


class LoadError(SsppError):
    """The load cannot go on."""

    code = "load_failed"


class MappingError(LoadError):
    """The mapping from columns to event fields is wrong or incomplete."""

    code = "invalid_mapping"


class ApiRefusalError(LoadError):
    """The API refuses the request as a whole, so every further one would fail the same way."""

    code = "request_refused"
