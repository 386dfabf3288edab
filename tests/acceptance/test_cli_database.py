"""The database commands as an operator types them."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
from patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]


def run(
    *arguments: str, database: str | None, folder: Path = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing of ours in its environment but DATABASE_URL and `variables`."""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **variables}
    if database is not None:
        environment["DATABASE_URL"] = database
    return subprocess.run(
        arguments,
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def sspp(*arguments: str, database: str | None, **variables: str) -> subprocess.CompletedProcess[str]:
    # Not in the repository: a platform that runs there has an environment file, which commands would find.
    elsewhere = Path(tempfile.gettempdir())
    command = str(Path(sys.executable).with_name("sspp"))
    return run(command, *arguments, database=database, folder=elsewhere, **variables)


def test_the_runner_works_by_path_and_agrees_with_the_command(database_url: str) -> None:
    script = run(
        sys.executable, "infrastructure/database/migrate.py", "--database-url", database_url, database=None
    )
    command = sspp("migrate", "--dry-run", database=database_url)

    assert (script.returncode, script.stderr) == (command.returncode, command.stderr) == (0, "")
    assert script.stdout == command.stdout == "The schema is up to date.\n"


def test_a_tenant_gets_a_key_that_is_shown_once_and_can_be_revoked(database_url: str) -> None:
    assert sspp("tenants", "create", "acme", "--name", "Acme", database=database_url).returncode == 0

    made = sspp("keys", "create", "acme", "--scope", "ingest", "--scope", "read", database=database_url)
    secret = made.stdout.strip()
    assert secret.startswith("sspp_")
    prefix = secret.split("_")[2]
    assert sspp("keys", "revoke", "acme", prefix, database=database_url).returncode == 0

    listed = sspp("keys", "list", "--tenant", "acme", "--json", database=database_url)
    (key,) = json.loads(listed.stdout)
    assert (key["prefix"], key["scopes"]) == (prefix, ["ingest", "read"])
    assert key["revoked_at"].endswith("Z")
    assert secret not in listed.stdout


def test_seeding_twice_leaves_one_demo_tenant_with_its_own_event_type(database_url: str) -> None:
    for _ in range(2):
        assert sspp("seed", database=database_url).returncode == 0

    tenants = json.loads(sspp("tenants", "list", "--json", database=database_url).stdout)
    types = json.loads(
        sspp("event-types", "list", "--tenant", "demo", "--json", database=database_url).stdout
    )
    assert [tenant["slug"] for tenant in tenants] == ["platform", "demo"]
    assert [(kind["event_type"], kind["version"]) for kind in types] == [("webinar_attended", 1)]


def test_a_tenants_event_type_is_checked_before_it_is_stored(database_url: str, tmp_path: Path) -> None:
    sspp("seed", database=database_url)
    schema = tmp_path / "schema.json"

    def add(content: object, name: str, *options: str) -> subprocess.CompletedProcess[str]:
        schema.write_text(json.dumps(content))
        return sspp(
            "event-types",
            "add",
            str(schema),
            "--type",
            name,
            "--tenant",
            "demo",
            *options,
            database=database_url,
        )

    assert add({"type": "object"}, "site_visit").stdout == "added site_visit v1\n"
    assert add({"type": "object"}, "site_visit").stdout == "is there already: site_visit v1\n"
    assert add({"type": "object"}, "site_visit", "--signal-type", "intent").stdout == "added site_visit v2\n"
    assert (
        add({"required": ["page"]}, "site_visit", "--compatibility", "none").stdout == "added site_visit v3\n"
    )
    retired = sspp(
        "event-types", "status", "site_visit", "3", "retired", "--tenant", "demo", database=database_url
    )
    assert retired.stdout == "site_visit v3 is retired\n"
    for refused, reason in (
        (
            add({"type": "object", "required": ["page"]}, "site_visit"),
            "/required: page is required from now on",
        ),
        (add({"type": "no such type"}, "other"), "not a JSON Schema"),
        (add({"$ref": "https://example.com/other.json"}, "other"), "stands alone"),
        (add([], "other"), "must be a JSON object"),
        (add({}, "purchase"), "take another name"),
        (add({}, "Not A Name"), "is no event type"),
    ):
        assert refused.returncode == 1
        assert reason in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_partitions_are_listed_made_and_dropped(database_url: str) -> None:
    before = json.loads(sspp("partitions", "list", "--json", database=database_url).stdout)
    made = sspp("partitions", "create", "--ahead", "5", database=database_url)
    dropped = sspp("partitions", "drop", "--keep-months", "1", "--yes", database=database_url)

    assert {"events_default", "signals_default"} < {partition["name"] for partition in before}
    assert made.stdout.count("created") == 6
    assert "dropped" not in dropped.stdout
    assert "deleted 0 rows of event_keys" in dropped.stdout


def store_old_event(database: str, tenant: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(
            "INSERT INTO events SELECT gen_random_uuid(), '2020-01-15', 1, tenant_id, 'e-1', 't', 'c-1', '2020-01-15',"
            " NULL, '{\"amount\": 0.10}' FROM tenants WHERE slug = %s",
            (tenant,),
        )


def test_a_month_is_archived_before_it_is_dropped_and_can_be_read(database_url: str, tmp_path: Path) -> None:
    metrics = tmp_path / "metrics"
    metrics.mkdir()
    given = {"SSPP_ARCHIVE_URL": str(tmp_path / "archives"), "SSPP_BACKUP_METRICS_DIR": str(metrics)}
    sspp("tenants", "create", "acme", "--name", "Acme", database=database_url)
    store_old_event(database_url, "acme")

    would = sspp("partitions", "create", "--dry-run", database=database_url)
    assert would.stdout == "would create events_2020_01\n"
    assert sspp("partitions", "create", database=database_url).stdout == "created events_2020_01\n"
    drop = ("partitions", "drop", "--before", "2020-02")
    shown = sspp(*drop, "--dry-run", "--json", database=database_url, **given)
    assert [each["name"] for each in json.loads(shown.stdout)] == ["events_2020_01"]

    dropped = sspp(*drop, "--yes", "--quiet", database=database_url, **given)
    assert (dropped.returncode, dropped.stderr) == (0, "")
    assert "dropped events_2020_01, archived as events_2020_01-" in dropped.stdout
    assert "sspp_archive_last_run_success 1.0" in (metrics / "sspp_archive_run.prom").read_text()
    assert "sspp_archive_rows 1.0" in (metrics / "sspp_archive_success.prom").read_text()

    [archive] = json.loads(sspp("archives", "list", "--json", database=None, **given).stdout)
    [line] = sspp("archives", "read", archive["name"], database=None, **given).stdout.splitlines()
    assert (json.loads(line)["event_id"], json.loads(line)["raw"]) == ("e-1", '{"amount": 0.10}')
    assert "1 archives are what was written" in sspp("archives", "check", "-q", database=None, **given).stdout

    sspp("tenants", "delete", "acme", "--yes", database=database_url)
    erased = sspp("archives", "erase", "--quiet", database=database_url, **given)
    assert erased.stdout == f"took 1 rows out of {archive['name']}\n"
    assert sspp("archives", "read", archive["name"], database=None, **given).stdout == ""

    [(lines,)] = [list((tmp_path / "archives").glob("*.gz"))]
    lines.write_bytes(b"")
    damaged = sspp("archives", "check", "--quiet", database=None, **given)
    assert (damaged.returncode, damaged.stderr.count("\n")) == (3, 1)
    assert damaged.stderr.endswith("[archive_damaged]\n")
    pruned = sspp("archives", "prune", "--before", "2020-02-01", "--yes", database=None, **given)
    assert pruned.stdout == f"deleted {archive['name']}\n"


def test_an_archive_of_the_environment_can_be_left_out(database_url: str, tmp_path: Path) -> None:
    sspp("tenants", "create", "acme", "--name", "Acme", database=database_url)
    store_old_event(database_url, "acme")
    sspp("partitions", "create", database=database_url)
    drop = ("partitions", "drop", "--before", "2020-02", "--no-archive", "--yes")

    dropped = sspp(*drop, database=database_url, SSPP_ARCHIVE_URL=str(tmp_path))

    assert "dropped events_2020_01\n" in dropped.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("list",), ("drop", "--before", "2020-02", "--dry-run")])
def test_how_many_rows_a_month_has_is_told_as_an_estimate_or_as_not_counted(
    database_url: str, command: tuple[str, ...]
) -> None:
    sspp("tenants", "create", "acme", "--name", "Acme", database=database_url)
    store_old_event(database_url, "acme")
    sspp("partitions", "create", database=database_url)

    def shown() -> tuple[str, object, object]:
        table = sspp("partitions", *command, database=database_url)
        [line] = [line for line in table.stdout.splitlines() if "events_2020_01" in line]
        rows = json.loads(sspp("partitions", *command, "--json", database=database_url).stdout)
        [row] = [row for row in rows if row["name"] == "events_2020_01"]
        return line, row["rows"], row["rows_estimated"]

    line, *machines = shown()
    assert "not counted yet" in line
    assert machines == [None, True]
    with psycopg.connect(database_url) as connection:
        connection.execute("ANALYZE events")
    line, *machines = shown()
    assert "~1 " in line
    assert machines == [1, True]


def test_rows_in_default_are_counted(database_url: str) -> None:
    sspp("tenants", "create", "acme", "--name", "Acme", database=database_url)
    store_old_event(database_url, "acme")

    rows = json.loads(sspp("partitions", "list", "--json", database=database_url).stdout)

    [default] = [row for row in rows if row["name"] == "events_default"]
    assert (default["rows"], default["rows_estimated"]) == (1, False)


def test_an_archive_with_a_damaged_manifest_is_listed_and_nobody_relies_on_it(
    database_url: str, tmp_path: Path
) -> None:
    given = {"SSPP_ARCHIVE_URL": str(tmp_path)}
    sspp("tenants", "create", "acme", "--name", "Acme", database=database_url)
    store_old_event(database_url, "acme")
    sspp("partitions", "create", database=database_url)
    sspp("partitions", "drop", "--before", "2020-02", "--yes", database=database_url, **given)
    [manifest] = tmp_path.glob("*.json")
    manifest.write_text(manifest.read_text().replace("2020", "2021"))

    listed = sspp("archives", "list", "--json", database=None, **given)
    [row] = json.loads(listed.stdout)
    assert (row["name"], row["rows"]) == (manifest.stem, None)
    assert "is damaged" in row["problem"]
    shown = sspp("archives", "list", database=None, **given)
    assert "is damaged" in shown.stdout
    assert "does not count as archived" in sspp("partitions", "list", database=database_url, **given).stderr
    pruned = sspp("archives", "prune", "--older-than", "1", "--yes", database=None, **given)
    sspp("tenants", "delete", "acme", "--yes", database=database_url)
    erased = sspp("archives", "erase", "--quiet", database=database_url, **given)
    for each in (listed, shown, pruned, erased):
        assert each.returncode == 3
        assert each.stderr.endswith("[archive_damaged]\n")


def test_what_somebody_keeps_is_not_dropped_unless_it_is_said_twice(database_url: str) -> None:
    sspp("tenants", "create", "acme", "--name", "Acme", database=database_url)
    sspp("tenants", "change", "acme", "--retention-days", "36500", database=database_url)
    store_old_event(database_url, "acme")
    sspp("partitions", "create", database=database_url)
    drop = ("partitions", "drop", "--before", "2020-02", "--yes")

    for options, variables, reason in (
        ((), {}, "events_2020_01 holds rows of acme, which keeps its events for 36500 days"),
        (("--dry-run",), {"SSPP_RETENTION_MONTHS": "1200"}, "SSPP_RETENTION_MONTHS=1200"),
    ):
        refused = sspp(*drop, *options, database=database_url, **variables)
        assert refused.returncode == 4
        assert reason in refused.stderr
        assert refused.stderr.endswith("[drop_refused]\n")

    assert "dropped events_2020_01\n" in sspp(*drop, "--force", database=database_url).stdout


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "say which months"),
        (("--before", "2999-01"), "are in use"),
        (("--before", "soon"), "soon"),
        (("--before", "2020-01", "--older-than", "3"), "by one of them"),
        (("--before", "2020-01", "--archive", "somewhere", "--no-archive"), "contradict"),
    ],
)
def test_what_is_to_be_dropped_must_be_said_and_be_over(
    database_url: str, options: tuple[str, ...], reason: str
) -> None:
    refused = sspp("partitions", "drop", "--yes", *options, database=database_url)

    assert refused.returncode == 2
    assert reason in refused.stderr


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (None, "DATABASE_URL is not set"),
        ("postgresql://127.0.0.1:1/none", "cannot be reached"),
        ("gibberish:hush@", "no URL"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line_and_exit_code_1(url: str | None, reason: str) -> None:
    failed = sspp("tenants", "list", database=url)

    assert failed.returncode == 1
    assert reason in failed.stderr
    assert "hush" not in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_help_and_version_need_no_settings() -> None:
    assert "migrate" in sspp("--help", database=None).stdout
    assert sspp("--version", database=None).stdout.startswith("sspp ")
