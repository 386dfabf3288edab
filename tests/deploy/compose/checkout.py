"""The files of the checkout that containers are made of, read as compose and the image's builder read them."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / ".env.example"

_VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<word>[^}]*))?\})")


@cache
def compose_text() -> str:
    return (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


@cache
def compose_file() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(compose_text())
    return loaded


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose_file()["services"]
    return found


def platform_services() -> dict[str, dict[str, Any]]:
    """Those that run our own image."""
    return {name: service for name, service in services().items() if "SSPP_IMAGE" in service["image"]}


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """What compose makes of `text`; KeyError names a variable that has to be set and is not."""

    def value(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        found = variables.get(match["name"], "")
        if found or match["kind"] is None:
            return found
        if match["kind"] == "?":
            raise KeyError(match["name"])
        return match["word"]

    return _VARIABLE.sub(value, text)


def interpolated_variables() -> dict[str, set[str]]:
    """The variables that docker-compose.yml reads, each with what it says for want of a value: ``-8000``, ``?…``."""
    found: dict[str, set[str]] = {}
    for match in _VARIABLE.finditer(compose_text()):
        if match["name"]:
            found.setdefault(match["name"], set()).add((match["kind"] or "") + (match["word"] or ""))
    return found


def read_variables(path: Path) -> dict[str, str]:
    """The lines ``NAME=value`` of a file; what is commented out is not among them."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


@dataclass(frozen=True)
class Instruction:
    """One of a Dockerfile, its lines joined."""

    name: str
    arguments: str


def dockerfile_stages() -> dict[str, list[Instruction]]:
    """The instructions of each stage by its name; those before the first are under the empty name."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    stages: dict[str, list[Instruction]] = {"": []}
    stage = ""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        name, _, arguments = line.strip().partition(" ")
        if name == "FROM":
            stage = arguments.rpartition(" AS ")[2]
            stages[stage] = []
        if name:
            stages[stage].append(Instruction(name, " ".join(arguments.split())))
    return stages


def copy_checkout(destination: Path) -> Path:
    """A checkout of its own, changes included: nobody's .env is in it, and none comes into this one."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, destination / name)
    return destination
