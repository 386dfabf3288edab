import json
import re
from itertools import combinations
from pathlib import Path
from typing import get_args

import pytest

from common.metrics import CATALOGUE
from infrastructure.monitoring.dashboards import DASHBOARDS
from infrastructure.monitoring.generate import GRAFANA, HOME, RULES, generated
from infrastructure.monitoring.panels import Dashboard, Unit, render
from infrastructure.safekeeping.report import METRICS as METRICS_OF_BACKUPS

GENERATED = generated()
RULE_TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(RULES.glob("*.yml"))}

NAME = re.compile(r"\b(?:sspp[a-z0-9_:]+)\b")
SUFFIX = re.compile(r"_(?:bucket|sum|count)$")
MEASURED = {metric.name for metric in CATALOGUE} | set(METRICS_OF_BACKUPS)
RECORDED = {name for text in RULE_TEXTS.values() for name in re.findall(r"- record: (\S+)", text)}


def unknown(expression: str) -> set[str]:
    """The names in `expression` that nobody measures or records."""
    names = set(NAME.findall(re.sub(r'"[^"]*"', "", expression)))
    return {
        name for name in names - RECORDED if SUFFIX.sub("", name) not in MEASURED and name not in MEASURED
    }


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_a_generated_file_says_what_its_source_says(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == GENERATED[path], (
        "run python -m infrastructure.monitoring.generate"
    )


def test_no_dashboard_lies_there_that_no_source_makes() -> None:
    assert set(GRAFANA.glob("*.json")) == {path for path in GENERATED if path.suffix == ".json"}


def test_kubernetes_gets_every_dashboard() -> None:
    listed = re.findall(
        r"- (grafana/dashboards/\S+)", (HOME / "kustomization.yaml").read_text(encoding="utf-8")
    )
    assert [HOME / name for name in listed] == [
        GRAFANA / f"{dashboard.name}.json" for dashboard in DASHBOARDS
    ]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.name)
def test_a_dashboard_asks_for_nothing_that_nobody_measures(dashboard: Dashboard) -> None:
    for panel in dashboard.panels:
        for expression in panel.queries.values():
            assert not unknown(expression), panel.title


@pytest.mark.parametrize("name", RULE_TEXTS)
def test_a_rule_asks_for_nothing_that_nobody_measures(name: str) -> None:
    expressions = re.findall(r"expr: (?:\|\n((?: {10}.*\n)+)|(.+)\n)", RULE_TEXTS[name])
    assert expressions
    for block, line in expressions:
        assert not unknown(block or line)


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.name)
def test_panels_stand_side_by_side_and_none_on_another(dashboard: Dashboard) -> None:
    places = [panel["gridPos"] for panel in render(dashboard)["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        assert (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.name)
def test_a_file_holds_the_dashboard_in_short_lines(dashboard: Dashboard) -> None:
    text = (GRAFANA / f"{dashboard.name}.json").read_text(encoding="utf-8")
    assert json.loads(text) == render(dashboard)
    # A query is one line, however long.
    assert [line for line in text.splitlines() if len(line) > 160 and '"expr"' not in line] == []


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.name)
def test_a_dashboard_has_what_grafana_asks_of_its_model(dashboard: Dashboard) -> None:
    """Grafana itself does not run here: these are the rules of its dashboard schema that break a page if broken."""
    model = render(dashboard)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", model["uid"])
    [source] = [each for each in model["templating"]["list"] if each["type"] == "datasource"]
    assert source["query"] == "prometheus"
    panels = model["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["type"] in ("row", "timeseries", "stat")
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == {"type": "prometheus", "uid": f"${{{source['name']}}}"}
        assert panel["fieldConfig"]["defaults"]["unit"] in get_args(Unit)
        references = [target["refId"] for target in panel["targets"]]
        assert references == sorted(set(references)) != []
        assert all(re.fullmatch("[A-Z]", reference) for reference in references)
        first, *others = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
        assert first is None
        assert others == sorted(others)


def test_dashboards_have_names_of_their_own() -> None:
    models = [render(dashboard) for dashboard in DASHBOARDS]
    assert len({model["uid"] for model in models}) == len({model["title"] for model in models}) == len(models)
