"""One screen of the platform's status."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from common.clock import rfc3339
from infrastructure.status.database import MOST
from infrastructure.status.status import Status

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_NOTHING = "-"
_GAP = 2  # between the columns of a table


def render(status: Status) -> RenderableType:
    """What people read; it folds where the terminal is narrow, and needs no colour to be understood."""
    return Group(*_parts(status))


def _parts(status: Status) -> Iterator[RenderableType]:
    word = "all is well" if status.healthy else f"{len(status.problems)} to see to"
    style = "bold green" if status.healthy else "bold red"
    when = rfc3339(status.at.replace(microsecond=0))
    yield Text.assemble(("SSPP ", "bold"), f"{when}, asked in {status.seconds:.1f} s: ", (word, style))
    for problem in status.problems:
        yield Text(f"  ! {problem}", style="red", overflow="fold")
    sections = status.sections
    if stores := sections.get("stores"):
        yield _Rows(
            ("store", "version", "answers in", "size", "details"),
            [_store_row(name, store) for name, store in sorted(stores.items())],
        )
    if lag := sections.get("lag"):
        yield _line(
            "lag",
            f"to stored {_seconds(lag.get('stored_seconds'))}, "
            f"to searchable {_seconds(lag.get('searchable_seconds'))}",
        )
    yield from _queues(status)
    if waiting := sections.get("waiting"):
        yield _line("waiting", ", ".join(f"{_number(n)} {k.replace('_', ' ')}" for k, n in waiting.items()))
    if partitions := sections.get("partitions"):
        yield _line(
            "partitions",
            "; ".join(
                f"{table} {state['months_ahead']} months ahead, {state['partitions']} of {_bytes(state['bytes'])}"
                for table, state in partitions.items()
            ),
        )
    if tenants := sections.get("tenants"):
        yield _line("tenants", ", ".join(f"{_number(n)} {kind}" for kind, n in sorted(tenants.items())))
    if backups := sections.get("backups"):
        last, drill = backups["last_backup"], backups["last_drill"]
        yield _line("backups", f"last {_ago(last, status.at)}, last drill {_ago(drill, status.at)}")
    elif "backups" in sections:
        yield _line("backups", "not known here, as SSPP_BACKUP_URL is not set")


def _queues(status: Status) -> Iterator[RenderableType]:
    sections = status.sections
    if lanes := sections.get("lanes"):
        busy = {
            name: lane for name, lane in lanes.items() if lane["waiting_events"] or lane["claimed_entries"]
        }
        if busy:
            yield _Rows(
                ("lane", "waiting", "oldest", "claimed"),
                [
                    [
                        name,
                        _number(lane["waiting_events"]),
                        _seconds(lane["oldest_seconds"]),
                        _number(lane["claimed_entries"]),
                    ]
                    for name, lane in busy.items()
                ],
            )
        else:
            yield _line("lanes", f"nothing waits in {len(lanes)} lanes")
    if queues := sections.get("queues"):
        yield _line(
            "queues",
            "; ".join(
                f"{name}: {queue['workers']} workers, {queue['jobs']} jobs"
                + (f", {queue['failed_jobs']} failed" if queue["failed_jobs"] else "")
                for name, queue in queues.items()
            ),
        )
    if workers := sections.get("workers"):
        yield _Rows(
            ("worker", "works for", "does", "for", "started"),
            [_worker_row(worker, status.at) for worker in workers],
        )


def _store_row(name: str, store: Mapping[str, Any]) -> list[str]:
    if not store["up"]:
        return [name, _NOTHING, "DOWN", _NOTHING, _NOTHING]
    size = _bytes(store["bytes"])
    if limit := store.get("bytes_limit"):
        size += f" of {_bytes(limit)}"
    return [name, str(store["version"]), f"{store['latency_ms']:g} ms", size, ", ".join(_details(store))]


def _details(store: Mapping[str, Any]) -> Iterator[str]:
    if "connections" in store:
        yield f"{store['connections']} of {store['connections_limit']} connections"
    if "aof" in store:
        yield f"AOF {store['appendfsync'] or 'on'}" if store["aof"] else "AOF off"
        yield str(store["maxmemory_policy"])
    if "health" in store:
        yield f"{store['health']}, {store['documents']:,} documents, {store['indices']} indices"


def _worker_row(worker: Mapping[str, Any], now: datetime) -> list[str]:
    since = worker["doing_since"] if worker["doing"] else None
    return [
        str(worker["name"])[:12],
        ", ".join(worker["queues"]),
        worker["doing"] or str(worker["state"]),
        _seconds((now - since).total_seconds()) if since else _NOTHING,
        _ago(worker["since"], now),
    ]


class _Rows:
    """A table, whose last column alone is wrapped; where that would break words, a paragraph for each row."""

    def __init__(self, columns: tuple[str, ...], rows: list[list[str]]) -> None:
        self._columns = columns
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        *fixed, last = zip(self._columns, *self._rows, strict=True)
        words = [word for cell in last for word in cell.split()]
        needed = sum(max(map(cell_len, column)) + _GAP for column in fixed) + max(map(cell_len, words))
        if needed <= options.max_width:
            yield self._table()
        else:
            yield from self._paragraphs()

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in self._columns:
            table.add_column(column, no_wrap=column != self._columns[-1])
        for row in self._rows:
            table.add_row(*(Text(cell, style=_style(cell)) for cell in row))
        return table

    def _paragraphs(self) -> Iterator[Text]:
        _, *columns = self._columns
        for name, *cells in self._rows:
            told = (f"{column} {cell}" for column, cell in zip(columns, cells, strict=True) if cell)
            yield Text.assemble(
                (f"{name}: ", "bold"), (", ".join(told), max(map(_style, cells))), overflow="fold"
            )


def _style(cell: str) -> str:
    return "red" if cell == "DOWN" else ""


def _line(name: str, text: str) -> Text:
    return Text.assemble((f"{name}: ", "bold"), text, overflow="fold")


def _number(count: int | None) -> str:
    if count is None:
        return "?"
    return f"more than {MOST - 1:,}" if count == MOST else f"{count:,}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    return f"{max(0.0, seconds):.1f} s" if seconds < 120 else str(timedelta(seconds=int(seconds)))


def _ago(instant: datetime | None, now: datetime) -> str:
    return "never" if instant is None else f"{_seconds((now - instant).total_seconds())} ago"


def _bytes(size: float) -> str:
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1024
    raise AssertionError
