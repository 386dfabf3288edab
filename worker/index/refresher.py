"""When what the index stage wrote is made visible to searches."""

import time

from elasticsearch import Elasticsearch

from common.search.indices import refresh

# So many written documents are refreshed at the first pause; fewer wait for the end of the drain.
_BURST_DOCUMENTS = 1000
_PAUSE_SECONDS = 0.1  # nothing was due for so long
_REFRESH_SECONDS = 1.0  # no more often than the server does by itself


class Refresher:
    """Refreshes the indices at the end of a burst.

    While documents stream in, the server's refresh interval does that well enough. At the end of a burst it may not: an
    index that nobody searched for a while is not refreshed until somebody does.
    """

    def __init__(self, client: Elasticsearch) -> None:
        self._client = client
        self._unrefreshed = 0
        self._next_refresh = 0.0

    def note_written(self, documents: int) -> None:
        """So many were written."""
        self._unrefreshed += documents

    def note_work(self) -> None:
        """There was work just now, so this is no pause."""
        self._next_refresh = max(self._next_refresh, time.monotonic() + _PAUSE_SECONDS)

    def refresh_at_pause(self) -> None:
        """Nothing is due: refresh if that has lasted for a moment, and a burst came before.

        Raises:
            SearchUnavailableError: the server is away or busy.
        """
        if self._unrefreshed >= _BURST_DOCUMENTS and time.monotonic() >= self._next_refresh:
            self.refresh()

    def refresh(self) -> None:
        """Refresh if anything was written since the last time.

        Raises:
            SearchUnavailableError: the server is away or busy; its own interval makes up for it.
        """
        if self._unrefreshed:
            self._unrefreshed = 0
            self._next_refresh = time.monotonic() + _REFRESH_SECONDS
            refresh(self._client)
