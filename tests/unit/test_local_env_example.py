import re
from pathlib import Path

import pytest

from common.settings import Settings
from infrastructure.safekeeping.settings import BackupSettings

EXAMPLE = Path(__file__).parents[2] / ".env.example"
COMPOSE_FILE = EXAMPLE.with_name("docker-compose.yml")
FIELDS = {
    str(field.alias): field
    for settings in (Settings, BackupSettings)
    for field in settings.model_fields.values()
}


def read_example() -> dict[str, str]:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    return dict(line.lstrip("#").split("=", 1) for line in lines if "=" in line and not line.startswith("# "))


def test_the_example_names_every_setting_and_what_compose_reads_and_no_other() -> None:
    compose = re.findall(r"\$\{(\w+)", COMPOSE_FILE.read_text(encoding="utf-8"))
    assert set(read_example()) == {*FIELDS, *compose, "RQ_REDIS_URL", "RQ_WORKER_CLASS"}


@pytest.mark.parametrize(
    "name", [name for name, field in FIELDS.items() if not field.is_required() and field.default]
)
def test_the_example_shows_the_default(name: str) -> None:
    default = FIELDS[name].default
    assert type(default)(read_example()[name]) == default


def test_the_example_is_a_valid_environment() -> None:
    settings = Settings(**read_example())
    assert settings.masked()["REDIS_URL"] == "redis://:***@127.0.0.1:6379/0"
