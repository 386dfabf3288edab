"""Runs of ``sspp verify``, and ways to make the index of November differ."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch
from indexing import NOVEMBER_INDEX
from typer.testing import CliRunner

from infrastructure.cli.main import app


@dataclass
class Verified:
    """What a run told."""

    exit_code: int
    output: str
    records: list[dict[str, Any]]

    def differences(self, look: int = 1) -> set[tuple[str, str, str | None, int | None]]:
        return {
            (each["kind"], each["index"], each["signal_id"], each["tenant_id"])
            for each in self.records
            if each["record"] == "difference" and each["look"] == look
        }

    def total(self, name: str) -> int:
        return sum(each[name] for each in self.records if each["record"] == "index" and each["look"] == 1)


Verify = Callable[..., Verified]
"""Runs the command with these arguments, and variables of the environment by name."""


def verify_with(servers: Mapping[str, str], file: Path, /, *arguments: str, **environment: str) -> Verified:
    """Run the command on `servers`; what it writes into `file` are the records.

    Raises:
        Exception: whatever the command let through.
    """
    command = ["verify", "--output", str(file), *arguments]
    result = CliRunner().invoke(app, command, env={**servers, **environment})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    lines = file.read_text().splitlines() if file.exists() else []
    return Verified(result.exit_code, result.output, [json.loads(line) for line in lines])


def delete(client: Elasticsearch, *ids: str) -> None:
    for each in ids:
        client.delete(index=NOVEMBER_INDEX, id=each, version=1, version_type="external_gte")


def put(client: Elasticsearch, document_id: str, document: Mapping[str, Any], version: int = 1) -> None:
    """Write a document over the one that is there, or beside all others."""
    client.index(
        index=NOVEMBER_INDEX, id=document_id, document=document, version=version, version_type="external_gte"
    )


def change(client: Elasticsearch, document_id: str, fields: Mapping[str, Any]) -> None:
    """Let a document say something else."""
    put(client, document_id, client.get(index=NOVEMBER_INDEX, id=document_id)["_source"] | fields)
