"""``sspp verify``: whether the search index says what PostgreSQL says, document by document."""

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, TextIO

import typer

from common.errors import SsppError
from infrastructure.cli.console import DatabaseEnvFile, database, show
from infrastructure.cli.search_server import search
from infrastructure.search.reindex_progress import new_progress
from infrastructure.search.repair import Repairer
from infrastructure.search.verify import KINDS, Difference, MonthReport, Verifier

_DIFFERENT, _CANNOT_COMPARE = 1, 2


class _Look:
    """What one look at the index found: in full as lines for machines, and as much of it as people read."""

    def __init__(self, number: int, lines: Sequence[TextIO], limit: int) -> None:
        self._number = number
        self._lines = lines
        self._limit = limit
        self.reports: list[MonthReport] = []
        self.listed: list[Difference] = []

    def run(self, verifier: Verifier, months: Sequence[date], repairer: Repairer | None) -> "_Look":
        """Compare, and let `repairer`, if there is one, repair what differs as it is found."""
        for task in verifier.plan(months):
            report = MonthReport(task.label, task.index)
            with closing(verifier.compare(task, report)) as found:
                for differences in found:
                    self.listed += differences[: self._limit - len(self.listed)]
                    for each in differences:
                        self._write("difference", asdict(each))
                    if repairer:
                        repairer.repair(task.month, differences)
            self.reports.append(report)
            self._write("index", asdict(report))
        return self

    @property
    def count(self) -> int:
        """How many differences were found."""
        return sum(sum(report.differences.values()) for report in self.reports)

    def show(self) -> None:
        """Print the counts by index, and the differences up to the limit."""
        show([_row(report) for report in self.reports], as_json=False)
        if self.listed:
            typer.echo()
            columns = ("kind", "index", "signal_id", "tenant_id", "detail")
            rows = [{name: getattr(each, name) for name in columns} for each in self.listed]
            show(rows, as_json=False)
        if self.count > len(self.listed):
            typer.echo(f"… and {self.count - len(self.listed):,} more; --output FILE has them all")
        typer.echo()

    def _write(self, record: str, values: dict[str, object]) -> None:
        line = json.dumps({"record": record, "look": self._number, **values}, ensure_ascii=False)
        for stream in self._lines:
            stream.write(f"{line}\n")


def verify(
    *,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Write what is missing or stale, delete what is extra, then look again."
        ),
    ] = False,
    months: Annotated[
        list[datetime] | None,
        typer.Option(
            "--month",
            formats=["%Y-%m"],
            metavar="YYYY-MM",
            help="Only this month of received_at; repeat it for several. Default: all months.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Most differences to list for people.")] = 20,
    output: Annotated[
        Path | None,
        typer.Option(help="Write all differences to this file, one JSON object a line.", dir_okay=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all differences, one JSON object a line, for machines.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Compare the search index with PostgreSQL and name every document that differs.

    Events may keep flowing. The exit code is 0 if nothing differs (with
    --repair: any more), 1 if something does, and 2 if the two cannot be
    compared.
    """
    try:
        with ExitStack() as stack:
            lines = [sys.stdout] if as_json else []
            if output is not None:
                lines.append(stack.enter_context(output.open("w", encoding="utf-8")))
            connection = stack.enter_context(database(env_file))
            client = stack.enter_context(search(env_file))
            progress = new_progress(quiet=quiet or as_json)
            stack.enter_context(progress)
            verifier = Verifier(connection, client, progress)
            chosen = [month.date() for month in months or ()]
            first = last = _Look(1, lines, limit).run(
                verifier, chosen, Repairer(connection, client) if repair else None
            )
            if repair and first.count:
                last = _Look(2, lines, limit).run(verifier, chosen, None)
    except (SsppError, OSError) as error:
        typer.echo(f"sspp: {error.detail if isinstance(error, SsppError) else error}", err=True)
        raise typer.Exit(_CANNOT_COMPARE) from None
    if not as_json:
        first.show()
        if last is not first:
            typer.echo("After the repair:")
            last.show()
        typer.echo(_verdict(last, repaired=first.count - last.count, tried=repair))
    if last.count:
        raise typer.Exit(_DIFFERENT)


def _row(report: MonthReport) -> dict[str, object]:
    counts = {"signals": report.signals, "documents": report.documents, "pending": report.pending}
    shown = {name: f"{count:,}" for name, count in (counts | report.differences).items()}
    return {"index": report.index, **shown}


def _verdict(look: _Look, *, repaired: int, tried: bool) -> str:
    pending = sum(report.pending for report in look.reports)
    waiting = f" {pending:,} are still waiting to be indexed." if pending else ""
    done = f"{repaired:,} differences repaired. " if repaired > 0 else ""
    if not look.count:
        return f"{done}PostgreSQL and the index are equal.{waiting}"
    by_kind = {kind: sum(report.differences[kind] for report in look.reports) for kind in KINDS}
    named = ", ".join(f"{count:,} {kind}" for kind, count in by_kind.items() if count)
    advice = "" if tried else " Repair it with: sspp verify --repair"
    return f"{done}The index differs from PostgreSQL: {named}.{waiting}{advice}"
