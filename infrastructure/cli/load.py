"""`sspp load`: post a file of events through the HTTP API."""

import codecs
import json
import os
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

import typer

from common.errors import SettingsError
from infrastructure.loading.errors import LoadError, MappingError
from infrastructure.loading.loader import Loader
from infrastructure.loading.mapping import ColumnMapping
from infrastructure.loading.mapping_options import (
    MappingFile,
    mapping_beside,
    mapping_from_options,
    read_mapping_file,
)
from infrastructure.loading.progress import new_progress
from infrastructure.loading.readers import BadRow, Event, Table, read_events
from infrastructure.loading.report import Report
from infrastructure.loading.retrying import RetryPolicy
from infrastructure.loading.sender import Sender
from infrastructure.loading.source import MAX_NAME, STDIN, Format, Source, open_source
from infrastructure.loading.target import find_target

_SHOWN_BY_DRY_RUN = 5
_TABLES = "Tables (CSV)"
_SENDING = "Sending"
_OUTPUT = "Output"


def load(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file to load; - reads standard input.")],
    *,
    maps: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            "-m",
            metavar="TARGET[:TYPE]=COLUMN",
            help="Fill a field from a column; repeat it for each. =COLUMN may be left out where it is called "
            "like the target.",
            rich_help_panel=_TABLES,
        ),
    ] = None,
    constants: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="TARGET[:TYPE]=VALUE",
            help="Give a field the same value in all events.",
            rich_help_panel=_TABLES,
        ),
    ] = None,
    event_type: Annotated[
        str | None,
        typer.Option("--event-type", "-t", help="Short for --set event_type=….", rich_help_panel=_TABLES),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(
            help="Read the mapping from a TOML or JSON file; the options above override it. Without --map and "
            "--mapping, NAME.toml beside NAME.csv or NAME.csv.gz is used.",
            rich_help_panel=_TABLES,
        ),
    ] = None,
    time_format: Annotated[
        str | None,
        typer.Option(
            help="How occurred_at is written: iso (a date alone is midnight; UTC unless it says otherwise), "
            "epoch, epoch_ms, or a pattern such as %d/%m/%Y.",
            show_default="iso",
            rich_help_panel=_TABLES,
        ),
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(
            help="What separates columns, or 'tab'.",
            show_default="comma; tab in .tsv",
            rich_help_panel=_TABLES,
        ),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="The text's encoding.", show_default="utf-8", rich_help_panel=_TABLES)
    ] = None,
    format_: Annotated[
        Format | None, typer.Option("--format", help="What FILE is, where it is not recognised.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="The name in the event ids SOURCE:ROW of events without an id of their own. Give it where "
            "another file of the same name was loaded before: ids that are known are not added again.",
            show_default="FILE without folder and .gz",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the first events as they would be sent, and send nothing.")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(help="The API's address.", show_default="SSPP_API_URL", rich_help_panel=_SENDING),
    ] = None,
    env_file: Annotated[
        Path | None,
        typer.Option(
            help="Where SSPP_API_URL and SSPP_API_KEY are read from if not set in the environment.",
            show_default=".sspp/env, as written by sspp up",
            rich_help_panel=_SENDING,
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, max=10_000, help="Events in one request.", rich_help_panel=_SENDING)
    ] = 500,
    concurrency: Annotated[
        int, typer.Option(min=1, max=64, help="Requests in flight at a time.", rich_help_panel=_SENDING)
    ] = 4,
    retry_for: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="How long to go on trying while the API is away or busy.",
            rich_help_panel=_SENDING,
        ),
    ] = 300.0,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="Afterwards, wait until the events are stored.", rich_help_panel=_SENDING
        ),
    ] = False,
    wait_for: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="How long --wait waits.", rich_help_panel=_SENDING),
    ] = 300.0,
    examples: Annotated[
        int,
        typer.Option(min=0, help="Failed rows that the summary shows of each kind.", rich_help_panel=_OUTPUT),
    ] = 5,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON.", rich_help_panel=_OUTPUT)
    ] = False,
    progress: Annotated[
        bool, typer.Option("--progress/--no-progress", help="Show a progress bar.", rich_help_panel=_OUTPUT)
    ] = True,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Say nothing unless something failed.", rich_help_panel=_OUTPUT),
    ] = False,
) -> None:
    r"""Post the events in FILE: CSV, a JSON array or NDJSON, plain or gzip.

    Loading the same file again, after an interruption too, adds nothing twice:
    each event has a fixed id, its own or SOURCE:ROW.

    A table needs a mapping. TARGET is a field of the envelope (customer_id,
    occurred_at, event_type, event_id, trace_id), or else of the event's data;
    dots nest (address.city), and data.customer_id is a data field of that name.
    TYPE is string, int, decimal (exact, sent as a string), number (exact, sent
    as a number), bool or json. An empty cell leaves its field out.

    For instance:

    sspp load sales.csv --event-type purchase --set currency=USD \
        --map customer_id=customer --map occurred_at=date \
        --map quantity:int --map amount:decimal=total

    Exit code: 0 if every row was accepted, 1 if any failed, 2 if the command
    itself is wrong, 130 if interrupted.
    """
    report = Report(max_examples=examples)
    try:
        target = None if dry_run else find_target(os.environ, url=url, env_file=env_file)
        with open_source(file, format_=format_) as opened:
            given = mapping_from_options(
                maps or (), constants or (), event_type=event_type, time_format=time_format
            )
            from_file = _mapping_file(opened, file, mapping, given, quiet=quiet)
            rows = _begun(
                read_events(
                    opened,
                    name=_source_name(source or from_file.source or opened.name),
                    table=_table(opened, from_file, given, delimiter, encoding),
                )
            )
            if target is None:
                for row in islice(rows, _SHOWN_BY_DRY_RUN):
                    print(row.body.decode() if isinstance(row, Event) else f"row {row.row}: {row.reason}")
                return
            with new_progress(size=opened.size, bar=progress, quiet=quiet) as shown:
                policy = RetryPolicy(
                    retry_for,
                    on_wait=lambda reason, seconds: shown.say(f"{reason}; next try in {seconds:.0f} s"),
                )
                with Sender(target, policy) as sender:
                    loader = Loader(
                        sender,
                        report,
                        shown,
                        position=lambda: opened.position,
                        stop=policy.stop,
                        batch_events=batch_size,
                        concurrency=concurrency,
                    )
                    loader.load(rows)
                    if wait and not report.interrupted and not report.error:
                        loader.wait_until_stored(wait_for)
    except (LoadError, SettingsError) as error:
        typer.echo(error.detail, err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        report.interrupted = True
    if json_:
        print(json.dumps(report.as_dict(), indent=2))
    elif not quiet or report.exit_code:
        print(report.as_text())
    raise typer.Exit(report.exit_code)


def _begun(rows: Iterator[Event | BadRow]) -> Iterator[Event | BadRow]:
    """`rows`, the first of which has been read: a mapping that does not fit fails here, before anything is sent.

    Raises:
        LoadError: there is not even a first row, as the command or the file is wrong.
    """
    first = next(rows, None)
    return rows if first is None else chain((first,), rows)


def _mapping_file(
    opened: Source, file: str, mapping: Path | None, given: ColumnMapping, *, quiet: bool
) -> MappingFile:
    """The mapping file that applies, or an empty one."""
    if opened.format is not Format.CSV:
        if mapping or given.fields or given.constants:
            raise MappingError(
                f"{opened.label} holds JSON events, which need no mapping: leave out --mapping, --map, --set and "
                "--event-type, or give --format csv."
            )
    elif mapping is None and not given.fields and file != STDIN and (beside := mapping_beside(Path(file))):
        if not quiet:
            typer.echo(f"Using the mapping {beside}.", err=True)
        mapping = beside
    return read_mapping_file(mapping) if mapping else MappingFile(ColumnMapping({}, {}))


def _table(
    opened: Source,
    from_file: MappingFile,
    given: ColumnMapping,
    delimiter: str | None,
    encoding: str | None,
) -> Table:
    separator = delimiter or from_file.delimiter or ("tab" if (opened.name or "").endswith(".tsv") else ",")
    separator = "\t" if separator in {"tab", "\\t"} else separator
    text = encoding or from_file.encoding or "utf-8"
    if len(separator) != 1 or separator in '"\r\n':
        raise MappingError("The delimiter must be a single character, or 'tab'.")
    try:
        codecs.lookup(text)
    except LookupError:
        raise MappingError(f"There is no encoding {text!r}.") from None
    return Table(from_file.mapping.updated(given), separator, text)


def _source_name(name: str | None) -> str | None:
    if name is not None and len(name) > MAX_NAME:
        raise LoadError(f"The name in the event ids may have {MAX_NAME} characters; give a shorter --source.")
    return name
