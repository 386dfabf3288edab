"""Bad input, tried by the hundred thousand: ``make fuzz ARGS="--inputs 200000"``.

Starts a platform of its own, tries the inputs, looks into the stores, and tells in JSON what came of it. The same
seed tries the same inputs. Exit status 1 means that something is wrong; the report names it.
"""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT)]

from fuzzing.campaign import Campaign  # noqa: E402
from fuzzing.contract import Contract, ContractReport, try_all  # noqa: E402
from fuzzing.platform import running_platform  # noqa: E402

_INPUTS_PER_EXAMPLE, _MOST_EXAMPLES = 5000, 40
_SETTLE_SECONDS = 1800
_console = Console(stderr=True, highlight=False, soft_wrap=True)


def main(
    inputs: Annotated[int, typer.Option(min=1000, help="How many inputs to try, about.")] = 200_000,
    seed: Annotated[
        int | None, typer.Option(help="Decides every input; drawn, and told, if not given.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report into this file.")] = None,
) -> None:
    """Try bad input on a running platform."""
    # Whoever stops the run stops its platform too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    seed = seed if seed is not None else time.time_ns() % 1_000_000
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with (
        running_platform(SSPP_MAX_REFUSED_SHARE="1") as platform,
        Progress(*columns, console=_console) as bar,
    ):
        task = bar.add_task(f"seed {seed}", total=inputs)
        contract = try_all(
            Contract(platform, platform.new_tenant("contract")),
            examples=min(_MOST_EXAMPLES, max(20, inputs // _INPUTS_PER_EXAMPLE)),
            seed=seed,
        )
        campaign = Campaign(platform, platform.new_tenant("fuzz"), inputs=inputs, seed=seed)
        books = campaign.run(lambda tried: bar.update(task, completed=tried), settle_seconds=_SETTLE_SECONDS)
    text = json.dumps(_report(seed, books, contract), indent=2, ensure_ascii=False)
    if report:
        report.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")
    wrong = books["violations"] + len(contract.failures)
    _console.print(
        f"{books['inputs']} inputs, {contract.tried.total()} calls by the OpenAPI document, {wrong} violations"
    )
    if wrong:
        raise typer.Exit(1)


def _report(seed: int, books: dict[str, object], contract: ContractReport) -> dict[str, object]:
    by_document = {"calls": dict(sorted(contract.tried.items())), "failures": contract.failures}
    return {"seed": seed, **books, "openapi": by_document}


if __name__ == "__main__":
    typer.run(main)
