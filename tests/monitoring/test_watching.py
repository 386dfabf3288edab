"""A real Prometheus watches a real platform under load: every rule works, and every panel shows something."""

import math
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from black_box import Platform
from starting import Starter, read_environment
from watched import WORKERS, Prometheus, free_port, running, started, traffic, worker_address

from infrastructure.monitoring.dashboards import DASHBOARDS

_PATIENCE_SECONDS = 150
_INTERVAL = "1m"


# One test, so that one platform serves it: however many processes the tests are spread over.
@pytest.mark.timeout(600)
def test_every_target_answers_every_rule_works_and_every_panel_shows_data(
    prometheus: str, node_exporter: str, tmp_path: Path, until: Any
) -> None:
    starter = Starter()
    try:
        with (
            closing(Platform(starter.folder, read_environment(starter.folder / "env"))) as platform,
            _watched(platform, prometheus, node_exporter, tmp_path, until) as watching,
        ):
            until(
                lambda: (found := watching.targets()) and set(found.values()) == {"up"},
                timeout=_PATIENCE_SECONDS,
            )
            assert len(watching.targets()) == 2 + len(WORKERS)

            until(
                lambda: all(rule["health"] != "unknown" for rule in watching.rules()),
                timeout=_PATIENCE_SECONDS,
            )
            assert {
                rule["name"]: rule.get("lastError") for rule in watching.rules() if rule["health"] != "ok"
            } == {}

            recorded = {rule["name"] for rule in watching.rules() if rule["type"] == "recording"}
            assert recorded
            _see_all(watching, {name: name for name in recorded} | _panels(), until)
    finally:
        starter.stop()


@contextmanager
def _watched(
    platform: Platform, prometheus: str, node_exporter: str, folder: Path, until: Any
) -> Iterator[Prometheus]:
    """A Prometheus that sees traffic of every kind, a backup and a restore drill."""
    addresses = [until(lambda name=name: worker_address(platform, name)) for name in WORKERS]
    tenant, slug = platform.new_tenant(), f"limited-{secrets.token_hex(4)}"
    _succeeds(platform, "tenants", "create", slug, "--plan", "trial")
    _succeeds(platform, "plans", "set", "trial", "--requests-per-second", "1")
    written = folder / "written"
    written.mkdir()
    for command in (["backup"], ["restore", "--drill"]):
        _succeeds(
            platform,
            *command,
            "--quiet",
            SSPP_BACKUP_URL=str(folder / "backups"),
            SSPP_BACKUP_METRICS_DIR=str(written),
        )
    node = f"127.0.0.1:{free_port()}"
    jobs = {
        "sspp-api": [platform.url.removeprefix("http://")],
        "sspp-worker": addresses,
        "sspp-node": [node],
    }
    with (
        started(
            node_exporter,
            f"--web.listen-address={node}",
            f"--collector.textfile.directory={written}",
            log=folder / "node_exporter.log",
        ),
        running(prometheus, folder, jobs, until) as watching,
        tenant.api,
        traffic(platform, tenant, platform.new_key(slug, "ingest")),
    ):
        yield watching


def _succeeds(platform: Platform, *arguments: str, **environment: str) -> None:
    done = platform.sspp(*arguments, **environment)
    assert done.returncode == 0, done.stdout + done.stderr


def _panels() -> dict[str, str]:
    """The queries of all panels, by where they stand."""
    return {
        f"{dashboard.title}, {panel.title}: {legend}": expression.replace("$__rate_interval", _INTERVAL)
        for dashboard in DASHBOARDS
        for panel in dashboard.panels
        for legend, expression in panel.queries.items()
    }


def _see_all(watching: Prometheus, queries: dict[str, str], until: Any) -> None:
    """Each of `queries` answers with a number, sooner or later."""
    unanswered = dict(queries)

    def all_seen() -> bool:
        for name, expression in list(unanswered.items()):
            if any(map(math.isfinite, watching.query(expression))):
                del unanswered[name]
        return not unanswered

    try:
        until(all_seen, timeout=_PATIENCE_SECONDS)
    except pytest.fail.Exception:
        pytest.fail(f"no data: {unanswered}")
