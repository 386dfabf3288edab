"""What can go wrong on the way up."""

from common.errors import SsppError


class LocalStackError(SsppError):
    """The local stack cannot start or go on."""

    code = "local_stack"


class FolderBusyError(LocalStackError):
    """Another `sspp up` is running on this data folder."""


class CancelledError(LocalStackError):
    """A stop was asked for while the stack was starting."""
