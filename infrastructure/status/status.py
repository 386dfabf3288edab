"""Asking all parts of the platform at once how they are, each for a few seconds at most."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any

from common.clock import Clock, system_clock
from common.errors import SsppError

PATIENCE_SECONDS = 5.0


@dataclass(slots=True)
class Answers:
    """What one part answered: figures by section, and what is wrong in a sentence each."""

    sections: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


Ask = Callable[[Answers], None]


@dataclass(frozen=True, slots=True)
class Status:
    """The platform at an instant.

    Attributes:
        at: when it was asked.
        seconds: how long that took.
        problems: what needs somebody's attention; none if all is well.
        sections: figures by section: ``stores``, ``lanes``, ``queues``, ``workers``, ``lag``, ``waiting``,
            ``partitions``, ``tenants`` and ``backups``. What could not be asked is missing.
    """

    at: datetime
    seconds: float
    problems: list[str]
    sections: Mapping[str, Any]

    @property
    def healthy(self) -> bool:
        """Whether nothing needs attention."""
        return not self.problems


def ask_all(
    parts: Mapping[str, Ask], *, patience_seconds: float = PATIENCE_SECONDS, clock: Clock = system_clock
) -> Status:
    """Ask all `parts`, by what they are called, at once.

    A part that is away, or does not answer in time, is a problem and nothing more: what it did not say is missing.
    """
    begun, at = monotonic(), clock()
    asked = [(name, Answers(), ask) for name, ask in parts.items()]
    threads = [
        # A hanging server must not keep the process: nothing is lost with the thread.
        threading.Thread(target=_ask, args=(name, answers, ask), name=f"ask {name}", daemon=True)
        for name, answers, ask in asked
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, begun + patience_seconds - monotonic()))
    sections: dict[str, Any] = {}
    problems: list[str] = []
    for thread, (name, answers, _) in zip(threads, asked, strict=True):
        if thread.is_alive():
            answers = Answers(dict(answers.sections), list(answers.problems))  # noqa: PLW2901 - it goes on answering
            answers.problems.append(f"{name} gives no answer within {patience_seconds:g} seconds")
        problems += answers.problems
        for section, values in answers.sections.items():
            if isinstance(values, dict):
                sections.setdefault(section, {}).update(values)
            else:
                sections[section] = values
    return Status(at, monotonic() - begun, problems, sections)


def _ask(name: str, answers: Answers, ask: Ask) -> None:
    try:
        ask(answers)
    except SsppError as error:
        told = error.detail
        answers.problems.append(told if told.startswith(name) else f"{name}: {told}")
    except Exception as error:  # noqa: BLE001 - whatever it is, the other parts are still worth showing
        reason = str(error).strip().splitlines() or [type(error).__name__]
        answers.problems.append(f"{name} cannot be asked: {reason[0]}")
