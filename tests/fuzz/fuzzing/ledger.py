"""The books of a run: what was tried, what came back, what was acknowledged, and what is wrong."""

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_EXCERPT, _SHOWN_OF_A_KIND = 300, 5


class Sent(NamedTuple):
    """An acknowledged event: a fingerprint of its text, what may become of it, and whose input it was.

    The fingerprint is empty where the platform wrote the text.
    """

    fingerprint: bytes
    allowed: frozenset[str] | None
    family: str
    excerpt: bytes


def fingerprint(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=12).digest()


@dataclass
class Ledger:
    """Counts by family, status and code; acknowledged events by id; violations."""

    tried: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    shed: int = 0
    acknowledged: dict[str, list[Sent]] = field(default_factory=lambda: defaultdict(list))
    violations: list[str] = field(default_factory=list)
    _kinds: Counter[str] = field(default_factory=Counter)

    def acknowledge(self, event_id: str, raw: bytes, allowed: frozenset[str] | None, family: str) -> None:
        self.acknowledged[event_id].append(Sent(fingerprint(raw), allowed, family, raw[:_EXCERPT]))

    def violate(self, kind: str, family: str, detail: object) -> None:
        """Enter a violation; of each kind and family a few are spelled out."""
        self._kinds[f"{kind} ({family})"] += 1
        if self._kinds[f"{kind} ({family})"] <= _SHOWN_OF_A_KIND:
            self.violations.append(f"{kind} ({family}): {detail}")

    @property
    def violation_count(self) -> int:
        return self._kinds.total()

    def report(self) -> dict[str, Any]:
        """The books as JSON."""
        return {
            "inputs": self.tried.total(),
            "families": dict(sorted(self.tried.items())),
            "answers": {str(status): count for status, count in sorted(self.answers.items())},
            "problems": dict(self.problems.most_common()),
            "refused_by_the_api": dict(self.refusals.most_common()),
            "acknowledged": sum(map(len, self.acknowledged.values())),
            "became": dict(self.outcomes.most_common()),
            "shed_and_sent_again": self.shed,
            "violations": self.violation_count,
            "violations_by_kind": dict(self._kinds.most_common()),
            "violation_examples": self.violations,
        }
