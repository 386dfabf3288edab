"""Writes the reference pages of settings, metrics and sales signals from the code that defines them.

``python infrastructure/scripts/generate_reference.py`` writes ``settings.md``, ``metrics.md`` and
``sales_signals.md`` in ``docs/reference``; with ``--check`` it writes nothing and fails if a page differs.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from common.metric import Metric
from common.metrics import CATALOGUE
from common.settings import Settings
from infrastructure.safekeeping.report import METRICS as BACKUP_METRICS
from infrastructure.safekeeping.settings import BackupSettings
from worker.domains.sales import reference as sales_signals

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"

_COMMAND = "python infrastructure/scripts/generate_reference.py"

_SETTINGS = f"""\
# Settings

<!-- Generated: {_COMMAND} -->

The API and the workers read their settings from the environment and from nowhere else. They refuse to start if a
required one is missing or a value is out of range, and name each that is wrong. At their start they log all of them,
passwords masked.
[.env.example](../../.env.example) lists the same settings in a form to copy; `sspp up` writes those of the local stack
to `.sspp/env`.

| name | default | allowed | meaning |
|---|---|---|---|
"""

_BACKUP_SETTINGS = """
## Backups

Only `sspp backup` and `sspp restore` read these ([back up and restore](../howto/back_up_and_restore.md)).

| name | default | allowed | meaning |
|---|---|---|---|
"""

_OTHER_VARIABLES = """
## What other programs read

| name | who reads it | meaning |
|---|---|---|
| `RQ_REDIS_URL` | `rq` | The server and database of `REDIS_URL`. |
| `RQ_WORKER_CLASS` | `rq` | `worker.worker.DrainWorker`: the worker that does not fork and stops between two batches. |
| `SSPP_API_URL` | `sspp load`, `sspp rejected` | Where the API is. |
| `SSPP_API_KEY` | `sspp load` | A key with the scope `ingest`, and `read` for `--wait`. |
| `SSPP_ADMIN_KEY` | `sspp rejected` | A key with the scope `read`, and `tenant_admin` to replay. |
| `POSTGRES_PASSWORD` and the like | `docker-compose.yml` | [Its page](../howto/run_with_compose.md#env) has them. |
"""

_METRICS = f"""\
# Metrics

<!-- Generated: {_COMMAND} -->

All metrics are declared in `common/metrics.py`; a name that is not declared there raises an error. The API serves them
on its `/metrics`, each worker on a port of its own (`SSPP_WORKER_METRICS_PORT`; the line `metrics_served` in its log
names the port). Counters and histograms count what their process did since it started: add them up. The gauges of lanes
and outbox are about the whole platform and are measured at each scrape: of what several processes show, take the
maximum, not the sum. The same holds for all from `sspp_store_up` on: the maintenance workers measure these, the
counters among them too, every 15 seconds to 5 minutes. Besides, each process shows `process_*`: its memory, processor
time and open files. What is made of all this: [watch the platform](../howto/watch_the_platform.md).

| name | kind | labels | meaning |
|---|---|---|---|
"""

_JOBS = """
## Backups and drills

Gauges that `sspp backup` and `sspp restore --drill` write into `SSPP_BACKUP_METRICS_DIR`, or send to
`SSPP_BACKUP_PUSHGATEWAY_URL`.

| name | meaning |
|---|---|
"""

_BUCKETS = """
## Buckets of the histograms

| buckets | histograms |
|---|---|
"""


def pages() -> dict[Path, str]:
    """What each generated page should hold, by its path."""
    return {
        REFERENCE / "settings.md": _SETTINGS
        + "".join(_setting_rows(Settings))
        + _BACKUP_SETTINGS
        + "".join(_setting_rows(BackupSettings))
        + _OTHER_VARIABLES,
        REFERENCE / "metrics.md": _METRICS
        + "".join(_metric_rows())
        + _JOBS
        + "".join(f"| `{name}` | {meaning} |\n" for name, meaning in BACKUP_METRICS.items())
        + _BUCKETS
        + "".join(_bucket_rows()),
        REFERENCE / "sales_signals.md": sales_signals.render(),
    }


def _setting_rows(settings: type[BaseModel]) -> Iterator[str]:
    for field in settings.model_fields.values():
        yield f"| `{field.alias}` | {_default(field)} | {_allowed(field)} | {field.description} |\n"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None:
        return ""
    return f"`{field.default:g}`" if isinstance(field.default, float) else f"`{field.default}`"


def _allowed(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    signs = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}
    return ", ".join(
        f"{words} {getattr(bound, sign):g}"
        for bound in field.metadata
        for sign, words in signs.items()
        if hasattr(bound, sign)
    )


def _metric_rows() -> Iterator[str]:
    for metric in CATALOGUE:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |\n"


def _bucket_rows() -> Iterator[str]:
    by_buckets: dict[tuple[float, ...], list[Metric]] = {}
    for metric in CATALOGUE:
        if metric.kind == "histogram":
            by_buckets.setdefault(metric.buckets, []).append(metric)
    for buckets, metrics in by_buckets.items():
        names = ", ".join(f"`{metric.name}`" for metric in metrics)
        yield f"| {', '.join(f'{bound:g}' for bound in buckets)} | {names} |\n"


def main() -> int:
    """Write the pages, or check them; the exit code is 1 if a checked page differs."""
    parser = argparse.ArgumentParser(description="Write the generated pages of docs/reference.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a page differs")
    check: bool = parser.parse_args().check
    stale = [
        path
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(f"{path.name} {'differs; run ' + _COMMAND if check else 'written'}")
        if not check:
            path.write_text(pages()[path], encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
