"""A search server of a test's own, to be killed and to lose what it had."""

import os
import shutil
import signal
from collections.abc import Callable
from typing import Any

from infrastructure.local.folder import DataFolder
from infrastructure.local.process import Process
from infrastructure.local.search import Search


class SearchServer:
    """Keeps its data below `folder`, and runs from the beginning."""

    def __init__(self, folder: DataFolder, until: Callable[..., Any]) -> None:
        self._search = Search(folder)
        self._home = folder.path / "search"
        self._kept = folder.path / "kept"
        self._process = Process(self._search.prepare(), folder)
        self._until = until
        self.url = self._search.url
        self.start()

    def start(self) -> None:
        self._search.prepare()
        self._process.start()
        self._until(self._process.command.is_ready)

    def stop(self) -> None:
        self._process.ask_to_stop()
        self._process.end(20)

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._until(lambda: self._process.exit_status() is not None)

    def keep(self) -> None:
        """Restart, and remember what is on disk by now."""
        self.stop()
        shutil.rmtree(self._kept, ignore_errors=True)
        shutil.copytree(self._home, self._kept)
        self.start()

    def forget(self) -> None:
        """Kill it; once it is up again it knows what was kept, and nothing that was written since."""
        self.kill()
        shutil.rmtree(self._home)
        shutil.copytree(self._kept, self._home)
        self.start()

    def lose_everything(self) -> None:
        """Kill it; once it is up again it knows nothing."""
        self.kill()
        shutil.rmtree(self._home)
        self.start()
