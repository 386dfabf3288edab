"""What a load has done: counted as it goes, told at the end to people or to programs."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from infrastructure.loading.readers import BadRow


@dataclass(frozen=True, slots=True)
class Rejection:
    """An event that the API refused, by its row in the file."""

    row: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The API's answer to some events. `last_id` is the last accepted one's id, None if there is none."""

    accepted: int
    rejected: tuple[Rejection, ...] = ()
    last_id: str | None = None

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(
            self.accepted + other.accepted, self.rejected + other.rejected, other.last_id or self.last_id
        )


@dataclass(slots=True)
class Report:
    """The running totals of one load; examples are limited to `max_examples` bad rows and as many per code.

    `seconds` and `error` are set at its end; `stored` is None unless storing was waited for.
    """

    max_examples: int = 5
    read: int = 0
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    rejected_examples: list[Rejection] = field(default_factory=list)
    bad_rows: int = 0
    bad_row_examples: list[BadRow] = field(default_factory=list)
    seconds: float = 0.0
    error: str | None = None
    interrupted: bool = False
    stored: bool | None = None

    @property
    def unconfirmed(self) -> int:
        """Events that were read and not answered for: not sent, or on their way when the load ended."""
        return self.read - self.accepted - self.rejected.total() - self.bad_rows

    @property
    def exit_code(self) -> int:
        """130 when interrupted, 1 when anything failed, else 0."""
        if self.interrupted:
            return 130
        failed = self.error or self.rejected or self.bad_rows or self.stored is False
        return 1 if failed else 0

    def add_bad_row(self, bad_row: BadRow) -> None:
        """Count a row of which no event could be made."""
        self.bad_rows += 1
        if len(self.bad_row_examples) < self.max_examples:
            self.bad_row_examples.append(bad_row)

    def add_outcome(self, outcome: Outcome) -> None:
        """Count what the API answered."""
        self.accepted += outcome.accepted
        for rejection in outcome.rejected:
            self.rejected[rejection.code] += 1
            if self.rejected[rejection.code] <= self.max_examples:
                self.rejected_examples.append(rejection)

    def as_dict(self) -> dict[str, Any]:
        """The summary for programs; the names are stable."""
        return {
            "status": "interrupted" if self.interrupted else "stopped" if self.error else "complete",
            "error": self.error,
            "read": self.read,
            "accepted": self.accepted,
            "rejected": self.rejected.total(),
            "rejected_by_code": dict(self.rejected.most_common()),
            "rejected_examples": [
                {"row": each.row, "code": each.code, "detail": each.detail} for each in self.rejected_examples
            ],
            "bad_rows": self.bad_rows,
            "bad_row_examples": [{"row": each.row, "reason": each.reason} for each in self.bad_row_examples],
            "unconfirmed": self.unconfirmed,
            "stored": self.stored,
            "seconds": round(self.seconds, 3),
            "events_per_second": round(self.accepted / self.seconds, 1) if self.seconds else None,
        }

    def as_text(self) -> str:
        """The summary for people, several lines."""
        rate = (
            f", {self.accepted / self.seconds:,.0f} events a second" if self.seconds and self.accepted else ""
        )
        lines = [
            f"read      {self.read:>12,}",
            f"accepted  {self.accepted:>12,}   in {self.seconds:.1f} s{rate}",
        ]
        if self.rejected:
            lines.append(f"rejected  {self.rejected.total():>12,}   by the API:")
            for code, count in self.rejected.most_common():
                lines.append(f"            {code}: {count:,}")
                examples = [each for each in self.rejected_examples if each.code == code]
                lines += [f"              row {each.row}: {each.detail}" for each in examples]
        if self.bad_rows:
            lines.append(f"bad rows  {self.bad_rows:>12,}   not sent:")
            lines += [f"            row {each.row}: {each.reason}" for each in self.bad_row_examples]
        if self.unconfirmed:
            lines.append(f"unsent    {self.unconfirmed:>12,}   or sent and not yet answered")
        return "\n".join([*lines, *self._remarks()])

    def _remarks(self) -> list[str]:
        remarks = []
        if self.error:
            remarks.append(f"Stopped: {self.error}")
        if self.interrupted:
            remarks.append("Interrupted.")
        if self.error or self.interrupted:
            remarks.append("Run the same command again to go on: what is there already is not added twice.")
        if self.stored:
            remarks.append("The last events of the load are stored.")
        elif self.stored is False:
            remarks.append("Not everything was stored within the time to wait; the workers go on with it.")
        elif self.accepted:
            remarks.append("Accepted means safely queued; the workers store the events in the background.")
        return remarks
