import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from checkout import (
    EXAMPLE,
    ROOT,
    compose_file,
    interpolate,
    interpolated_variables,
    platform_services,
    read_variables,
    services,
)
from pydantic import SecretStr, TypeAdapter

from common.production import check_production
from common.settings import Settings
from infrastructure.database.roles import process_url
from infrastructure.safekeeping.settings import BackupSettings

FIELDS = {str(field.alias): field for field in Settings.model_fields.values()}
BACKUP_FIELDS = {str(field.alias): field for field in BackupSettings.model_fields.values()}

# What RQ's own command line reads, sspp's commands that ask the API, Python for its temporary files, and OpenTelemetry.
OTHERS_READ = {
    "RQ_REDIS_URL",
    "RQ_WORKER_CLASS",
    "SSPP_API_URL",
    "TMPDIR",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
}

# Of what is set in any case there, something else than the platform's own default.
SET_BY_COMPOSE = {
    "SSPP_ALLOW_PLAINTEXT": "postgresql,redis,elasticsearch",
    "SSPP_DISK_PATHS": "/volumes",
    "SSPP_BACKUP_URL": "/backups",
    "SSPP_BACKUP_PUSHGATEWAY_URL": "http://pushgateway:9091",
}

# They write beside their programs when they start.
WRITABLE = {"elasticsearch", "pgadmin"}

# PostgreSQL makes its folders its own and goes on as somebody who has none of these; PgAdmin's Python asks for its one.
CAPABILITIES = {
    "postgres": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"],
    "pgadmin": ["NET_BIND_SERVICE"],
}

# They run once, for a person or before the others.
ONE_SHOT = {"migrate", "sspp", "restore"}

# They take backups and load them.
BACKS_UP = {"sspp", "restore"}

PROCESSES = {"api": "api", "worker-ingest": "ingest", "worker-index": "index"}

each_service = pytest.mark.parametrize("name", services())
each_long_running = pytest.mark.parametrize("name", [name for name in services() if name not in ONE_SHOT])
each_process = pytest.mark.parametrize("name", [name for name in platform_services() if name != "migrate"])


def passwords() -> dict[str, str]:
    """A .env as the set-up makes it."""
    example = read_variables(EXAMPLE)
    made = {name: f"made-up-{number}" for number, name in enumerate(example) if name.endswith("_PASSWORD")}
    return {**example, **made}


def environment_of(name: str) -> dict[str, str]:
    variables = passwords()
    return {key: interpolate(str(value), variables) for key, value in services()[name]["environment"].items()}


@each_service
def test_an_image_is_pinned_to_a_version_or_built_here(name: str) -> None:
    image = services()[name]["image"]
    if image.startswith("${"):
        assert image.endswith(":local}")
        return
    assert re.fullmatch(r"[a-z0-9./-]+:v?\d+\.\d+[\w.-]*", image), image


@each_service
def test_a_container_may_do_no_more_than_it_needs(name: str) -> None:
    service = services()[name]
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == CAPABILITIES.get(name, [])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is (name not in WRITABLE)
    assert not service.get("privileged")
    assert str(service.get("user", "1")).partition(":")[0] not in {"0", "root"}


@each_service
def test_a_container_has_limits(name: str) -> None:
    limits = services()[name]["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory", "pids"}


@each_long_running
def test_a_service_is_started_again_and_its_health_is_known(name: str) -> None:
    service = services()[name]
    assert service["restart"] == "unless-stopped"
    # Our own image brings its health check along.
    assert name in platform_services() or service["healthcheck"]["test"]


@each_service
def test_what_a_service_waits_for_is_there_and_can_come_to_pass(name: str) -> None:
    for dependency, condition in services()[name].get("depends_on", {}).items():
        awaited = services()[dependency]
        if condition["condition"] == "service_healthy":
            assert awaited["healthcheck"]["test"]
        elif condition["condition"] == "service_completed_successfully":
            assert awaited["restart"] == "no"
        else:
            assert condition == {"condition": "service_started"}


@pytest.mark.parametrize("name", ["api", "worker-ingest", "worker-index", "worker-maintenance"])
def test_a_process_starts_once_the_schema_is_there_and_redis_answers(name: str) -> None:
    needed = dict(services()[name]["depends_on"])
    assert needed.pop("migrate") == {"condition": "service_completed_successfully"}
    assert needed.pop("redis") == {"condition": "service_healthy"}
    # An outage of search delays search and nothing else.
    assert all(condition == {"condition": "service_started"} for condition in needed.values())


@each_process
def test_a_process_is_told_every_setting_and_nothing_that_nobody_reads(name: str) -> None:
    read = {**FIELDS, **(BACKUP_FIELDS if name in BACKS_UP else {})}
    assert set(services()[name]["environment"]) - OTHERS_READ == set(read), (
        "docker-compose.yml, x-settings: add what is missing as NAME: ${NAME:-default}, remove what is too much"
    )


@each_process
def test_without_an_env_file_the_settings_have_their_defaults(name: str) -> None:
    only_passwords = {key: value for key, value in passwords().items() if key.endswith("_PASSWORD")}
    for key, value in services()[name]["environment"].items():
        if "${" + key + ":-" in str(value) and key not in OTHERS_READ:
            told = interpolate(value, only_passwords)
            default = {**FIELDS, **BACKUP_FIELDS}[key].default
            if isinstance(default, SecretStr):
                default = default.get_secret_value()
            expected = SET_BY_COMPOSE.get(key, default)
            assert TypeAdapter(type(expected)).validate_python(told) == expected, key


@each_process
def test_what_a_process_is_told_starts_in_production(name: str) -> None:
    environment = environment_of(name)
    settings = Settings(**environment)
    assert settings.environment == "production"
    check_production(settings, rq_redis_url=environment["RQ_REDIS_URL"])


@pytest.mark.parametrize("name", sorted(set(platform_services()) - {"migrate", "restore"}))
def test_a_process_connects_as_the_role_of_its_work(name: str) -> None:
    expected = process_url(
        "postgresql://sspp_migrator@postgres:5432/sspp", PROCESSES.get(name, name), lambda _: "x"
    )
    assert urlsplit(environment_of(name)["DATABASE_URL"]).username == urlsplit(expected).username


def test_only_migrations_and_restores_run_as_the_superuser() -> None:
    told = [name for name, service in services().items() if "POSTGRES_PASSWORD" in str(service)]
    assert sorted(told) == ["migrate", "postgres", "restore"]


@pytest.mark.parametrize("name", sorted(BACKS_UP))
def test_backups_go_to_a_volume_that_has_room_for_temporary_files_too(name: str) -> None:
    environment = environment_of(name)
    assert services()[name]["volumes"] == [f"backups:{environment['SSPP_BACKUP_URL']}"]
    assert environment["TMPDIR"] == environment["SSPP_BACKUP_URL"]


def test_the_disk_of_the_volumes_is_shown_by_who_may_read_none_of_them() -> None:
    shown = environment_of("worker-maintenance")["SSPP_DISK_PATHS"]
    assert services()["worker-maintenance"]["volumes"] == [f"disk:{shown}:ro"]
    writers = [name for name, service in services().items() if "disk:" in str(service.get("volumes"))]
    assert writers == ["worker-maintenance"]


def test_what_backups_tell_is_held_where_prometheus_looks() -> None:
    pushed = urlsplit(environment_of("sspp")["SSPP_BACKUP_PUSHGATEWAY_URL"])
    assert pushed.hostname in services()
    assert scraped_ports()[pushed.hostname] == pushed.port


def test_a_file_for_the_variables_is_complete() -> None:
    example = read_variables(EXAMPLE)
    assert set(interpolated_variables()) <= set(example)
    assert {name for name in example if name not in FIELDS} - {"RQ_REDIS_URL", "RQ_WORKER_CLASS"} <= set(
        interpolated_variables()
    )


@pytest.mark.parametrize("name", [name for name in interpolated_variables() if name.endswith("_PASSWORD")])
def test_nothing_starts_with_an_empty_password(name: str) -> None:
    assert any(word.startswith("?") for word in interpolated_variables()[name])
    assert not any(word.startswith("-") for word in interpolated_variables()[name])
    assert read_variables(EXAMPLE)[name] == ""


@each_service
def test_no_password_is_on_a_command_line(name: str) -> None:
    service = services()[name]
    for words in (service.get("command", ""), service.get("entrypoint", ""), service.get("healthcheck", {})):
        assert "${" not in str(words)


@each_service
def test_what_is_published_is_for_this_machine_alone(name: str) -> None:
    for port in services()[name].get("ports", []):
        assert re.fullmatch(
            r"127\.0\.0\.1:\$\{[A-Z_]+PORT:-\d+\}:\d+|127\.0\.0\.1:\$\{PORT:-8000\}:8000", port
        )


def test_the_stores_are_published_to_nobody() -> None:
    assert [name for name in ("postgres", "redis", "elasticsearch") if "ports" in services()[name]] == []


@each_service
def test_what_is_mounted_is_in_the_checkout_and_read_only_or_a_volume(name: str) -> None:
    for mount in services()[name].get("volumes", []):
        source, _, rest = mount.partition(":")
        if source.startswith("./"):
            assert rest.endswith(":ro")
            assert (ROOT / source).exists(), source
        else:
            assert source in compose_file()["volumes"]


def test_everything_that_lasts_is_on_a_volume() -> None:
    mounted = {
        mount.partition(":")[0] for service in services().values() for mount in service.get("volumes", [])
    }
    assert set(compose_file()["volumes"]) <= mounted


def scraped_ports() -> dict[str, int]:
    """Which port of which service Prometheus scrapes."""
    path = ROOT / "infrastructure" / "monitoring" / "prometheus" / "prometheus.yml"
    scraped: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {
        name: entry["port"]
        for job in scraped["scrape_configs"]
        for entry in job.get("dns_sd_configs", [])
        for name in entry["names"]
    }


def test_prometheus_looks_for_the_processes_where_they_are() -> None:
    environment = environment_of("api")
    worker_port = int(environment["SSPP_WORKER_METRICS_PORT"])
    assert {name: port for name, port in scraped_ports().items() if name != "pushgateway"} == {
        "api": int(environment["PORT"]),
        **{name: worker_port for name in services() if name.startswith("worker-")},
    }


def test_grafana_finds_its_dashboards_where_they_are_mounted() -> None:
    folder = ROOT / "infrastructure" / "monitoring" / "grafana" / "provisioning" / "dashboards"
    mounts = [mount.split(":")[1] for mount in services()["grafana"]["volumes"]]
    for path in sorted(Path(folder).glob("*.yml")):
        for provider in yaml.safe_load(path.read_text(encoding="utf-8"))["providers"]:
            assert provider["options"]["path"] in mounts
