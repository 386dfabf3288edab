"""What is measured, each scenario in a file of its own: a module with ``run(bench: Bench) -> Findings``."""

from collections.abc import Callable
from importlib import import_module

from suite.bench import Bench
from suite.measuring import Findings

SCENARIOS = (
    "store_stage",
    "pipeline",
    "single_events",
    "peers",
    "latency",
    "growth",
    "scaling",
    "fairness",
    "tracing",
)
"""All of them, in the order in which they run."""

QUICK_SCENARIOS = ("store_stage", "pipeline", "single_events")
"""Those that `make bench-quick` watches."""


class ScenarioError(Exception):
    """A scenario cannot run here; says why, and what to do."""


def load(name: str) -> Callable[[Bench], Findings]:
    """The scenario of that name, ready to run; only what it needs is imported.

    Raises:
        ScenarioError: there is no such scenario, or a package that it needs is not installed.
    """
    module = f"suite.scenarios.{name}"
    try:
        run: Callable[[Bench], Findings] = import_module(module).run
    except ModuleNotFoundError as error:
        if error.name == module and name in SCENARIOS:
            raise ScenarioError(
                f"{name} is missing: there is no file {name}.py among the scenarios"
            ) from None
        if error.name == module:
            raise ScenarioError(f"there is no scenario {name!r}; there are: {', '.join(SCENARIOS)}") from None
        raise ScenarioError(f"{name} needs {error.name}: make bench installs what it needs") from None
    return run
