"""Dashboards as values, and what Grafana wants of them: its classic JSON model, which it reads from version 9 on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS = 24
_ROW_HEIGHT = 1

Unit = Literal["short", "s", "bytes", "reqps", "eps", "cps", "percentunit", "Bps", "none"]
"""Grafana's name of a unit; ``eps`` are events a second, ``cps`` counts."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph or figure: queries by their legend (`{{label}}` stands for a label's value), and their unit.

    `warn` and `alarm` colour it from these values on; with ``alarm < warn`` it is the low values that are bad.
    """

    title: str
    queries: dict[str, str]
    unit: Unit = "short"
    text: str = ""
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = 8
    height: int = 7
    warn: float | None = None
    alarm: float | None = None
    stacked: bool = False
    names: dict[int, str] = field(default_factory=dict)
    """What single values are called: ``{1: "up"}``."""


def stat(title: str, query: str, unit: Unit = "short", **options: Any) -> Panel:
    """One figure, the latest."""
    return Panel(title, {"": query}, unit, kind="stat", **{"width": 4, "height": 4, **options})


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of rows; its address in Grafana is ``/d/sspp-<name>``."""

    name: str
    title: str
    text: str
    rows: Sequence[Row]

    @property
    def panels(self) -> list[Panel]:
        """All panels, from the top."""
        return [panel for row in self.rows for panel in row.panels]


def render(dashboard: Dashboard) -> dict[str, Any]:
    """What Grafana reads."""
    return {
        "uid": f"sspp-{dashboard.name}",
        "title": f"SSPP / {dashboard.title}",
        "description": dashboard.text,
        "tags": ["sspp"],
        "timezone": "utc",
        "editable": False,
        "schemaVersion": 39,
        "version": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "graphTooltip": 1,
        "links": [
            {
                "type": "dashboards",
                "title": "SSPP",
                "tags": ["sspp"],
                "asDropdown": True,
                "keepTime": True,
                "includeVars": True,
            }
        ],
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                    "current": {},
                }
            ]
        },
        "annotations": {
            "list": [
                {
                    "name": "Alerts",
                    "enable": True,
                    "datasource": _SOURCE,
                    "expr": 'ALERTS{alertstate="firing", alertname=~"Sspp.*"}',
                    "titleFormat": "{{alertname}}",
                    "iconColor": "red",
                }
            ]
        },
        "panels": [
            {"id": number, **panel} for number, panel in enumerate(_laid_out(dashboard.rows), start=1)
        ],
    }


def _laid_out(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """The rows' headings and panels, left to right as long as there is room, with their places."""
    top = 0
    for row in rows:
        yield {
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": _COLUMNS, "h": _ROW_HEIGHT},
        }
        top += _ROW_HEIGHT
        left = tallest = 0
        for panel in row.panels:
            if left + panel.width > _COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            yield {**_panel(panel), "gridPos": place}
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "type": panel.kind,
        "title": panel.title,
        **({"description": panel.text} if panel.text else {}),
        "datasource": _SOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "expr": expression,
                "legendFormat": legend or "__auto",
                "range": True,
            }
            for number, (legend, expression) in enumerate(panel.queries.items())
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
    }


_OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background",
        "graphMode": "area",
        "textMode": "auto",
    },
}


def _defaults(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": _steps(panel)},
    }
    if panel.names:
        texts = {str(value): {"text": name} for value, name in panel.names.items()}
        defaults["mappings"] = [{"type": "value", "options": texts}]
    if panel.kind == "timeseries":
        defaults["min"] = 0
        defaults["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 20 if panel.stacked else 5,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "off" if panel.alarm is None else "line"},
        }
    return defaults


def _steps(panel: Panel) -> list[dict[str, Any]]:
    colours = [("orange", panel.warn), ("red", panel.alarm)]
    first = "green"
    if panel.warn is not None and panel.alarm is not None and panel.alarm < panel.warn:
        first, colours = "red", [("orange", panel.alarm), ("green", panel.warn)]
    marks = [{"color": colour, "value": value} for colour, value in colours if value is not None]
    return [{"color": first, "value": None}, *marks]
