import json
import re
import tomllib

import pytest
from checkout import ROOT, Instruction, dockerfile_stages, services

from common.settings import Settings

STAGES = dockerfile_stages()
FINAL = STAGES["sspp"]

BUILD_TOOLS = re.compile(r"\b(gcc|g\+\+|make|build-essential|git|curl|wget|python3?-dev|libpq-dev|-dev)\b")


def arguments(name: str, stage: list[Instruction] = FINAL) -> list[str]:
    return [instruction.arguments for instruction in stage if instruction.name == name]


def test_every_stage_starts_from_one_pinned_image() -> None:
    [image] = [value.removeprefix("PYTHON_IMAGE=") for value in arguments("ARG", STAGES[""])]
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", image)
    for name, stage in STAGES.items():
        if name:
            assert arguments("FROM", stage) == [f"${{PYTHON_IMAGE}} AS {name}"]


def test_its_pg_dump_is_not_older_than_the_server_in_compose() -> None:
    client = {"bookworm": 15, "trixie": 17}  # packages.debian.org/postgresql-client
    [image] = arguments("ARG", STAGES[""])
    server = services()["postgres"]["image"].removeprefix("postgres:").partition(".")[0]
    assert client[image.rpartition("-")[2]] >= int(server)


def test_what_debuggers_need_goes_before_it_is_copied_and_patched_modules_stay_whole() -> None:
    [install] = [line for line in arguments("RUN", STAGES["builder"]) if "strip --strip-debug" in line]
    assert "! -path '*/psycopg_binary/*' -exec strip" in install


def test_the_platform_is_what_a_build_makes_by_default() -> None:
    assert list(STAGES)[-1] == "sspp"


def test_nobody_in_it_is_root_and_kubernetes_can_tell() -> None:
    [user] = arguments("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_nothing_that_builds_or_installs_stays() -> None:
    run = " ".join(arguments("RUN"))
    assert not BUILD_TOOLS.search(run)
    assert "pip uninstall --yes" in run
    assert "rm -rf /var/lib/apt/lists/*" in run


def test_signals_reach_the_process_as_no_shell_is_in_between() -> None:
    [entrypoint], [command] = arguments("ENTRYPOINT"), arguments("CMD")
    assert json.loads(entrypoint) == ["tini", "-e", "143", "--"]
    assert json.loads(command) == ["python", "-m", "api"]
    assert arguments("STOPSIGNAL") == ["SIGTERM"]


def test_it_says_itself_whether_it_is_well() -> None:
    [check] = arguments("HEALTHCHECK")
    assert json.loads(check.partition("CMD ")[2]) == ["python", "-m", "infrastructure.compose.healthcheck"]


def test_what_it_sets_is_a_setting_and_may_be_so() -> None:
    known = {str(field.alias) for field in Settings.model_fields.values()}
    pairs = dict(pair.split("=", 1) for line in arguments("ENV") for pair in line.split())
    ours = {name: value for name, value in pairs.items() if name.startswith(("SSPP_", "PORT"))}
    assert set(ours) <= known
    settings = Settings(
        DATABASE_URL="postgresql://db", REDIS_URL="redis://r", ELASTICSEARCH_URL="http://e", **ours
    )
    assert arguments("EXPOSE") == [f"{settings.port} {settings.worker_metrics_port}"]
    assert settings.host == settings.worker_metrics_host == "0.0.0.0"
    assert pairs["RQ_WORKER_CLASS"] == "worker.worker.DrainWorker"


def test_dependencies_are_the_locked_ones_and_nothing_of_theirs_is_compiled() -> None:
    [install] = [line for line in arguments("RUN", STAGES["builder"]) if "requirements.lock" in line]
    assert "--only-binary :all: --requirement requirements.lock" in install


def test_labels_say_what_it_is_and_what_it_was_made_of() -> None:
    labels = " ".join(arguments("LABEL"))
    for name in ("title", "description", "licenses", "version", "revision", "created", "base.name"):
        assert f"org.opencontainers.image.{name}=" in labels
    given = {argument.partition("=")[0] for argument in arguments("ARG")}
    assert {"VERSION", "REVISION", "CREATED"} <= given


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_copied_is_let_in_and_there(stage: str) -> None:
    allowed = set(allowed_by_dockerignore())
    for line in arguments("COPY", STAGES[stage]):
        if line.startswith("--from="):
            continue
        for source in line.split()[:-1]:
            assert source.strip("/").partition("/")[0] in allowed
            assert (ROOT / source).exists()


def test_nothing_is_let_in_that_is_not_named() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = packages["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {*wheel, "pyproject.toml", "requirements.lock", "README.md", "LICENSE"} == set(
        allowed_by_dockerignore()
    )
    assert rules[-1] == "**/.*"  # no .env, wherever somebody left one


def allowed_by_dockerignore() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("!") for line in lines if line.startswith("!")]
