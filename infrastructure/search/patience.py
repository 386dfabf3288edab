"""Waiting out the search server's outages, and telling those who watch."""

import random
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from elasticsearch import ApiError

from common.errors import SearchUnavailableError
from infrastructure.search.rebuilds import ReindexError
from infrastructure.search.reindex_progress import Progress

_LONGEST_PAUSE_SECONDS = 30.0

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def patiently(
    progress: Progress,
    step: Callable[_Arguments, _Result],
    *args: _Arguments.args,
    **kwargs: _Arguments.kwargs,
) -> _Result:
    """Do `step`, again and again while the search server is away or busy; returns what it returns.

    Raises:
        ReindexError: the server refuses what is asked, and would again.
    """
    pause = 1.0
    while True:
        try:
            return step(*args, **kwargs)
        except SearchUnavailableError as error:
            progress.say(f"{error.detail}; next try in {pause:.0f} s")
        except ApiError as error:
            raise ReindexError(f"Elasticsearch refuses it: {error.meta.status} {error.error}") from error
        time.sleep(random.uniform(0.5, 1) * pause)  # noqa: S311  # apart from other processes, nothing secret
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
