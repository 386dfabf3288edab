"""Strict validation: Kubernetes' kinds by its schemas, those of operators by ours of what is used of them.

A field that a schema does not know is an error, as with ``kubectl apply --validate=strict``.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate
from k8s_manifests import Document

KUBERNETES = ("1.29", "1.37")
"""The oldest release that the manifests are for, and the newest that the schemas are there for."""

_SCHEMAS = Path(__file__).parent / "schemas"


class InvalidManifestError(Exception):
    """A document is not as its schema has it."""


def validate(document: Document) -> None:
    """Check one document.

    Raises:
        InvalidManifestError: it has a field that it must not have, or lacks one, or a value is of the wrong kind.
        FileNotFoundError: it is of a kind without a schema here.
    """
    group, _, version = document["apiVersion"].rpartition("/")
    name = f"{document['kind']}/{document['metadata']['name']}"
    if group and "." in group and not group.endswith(".k8s.io"):
        errors = list(_custom(group, version, document["kind"]).iter_errors(document))
        if errors:
            told = "; ".join(f"{'.'.join(map(str, each.instance_path))}: {each.message}" for each in errors)
            raise InvalidManifestError(f"{name}: {told}")
        return
    for release in KUBERNETES:
        try:
            kubernetes_validate.validate(document, release, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise InvalidManifestError(f"{name}, Kubernetes {release}: {error}") from None


@lru_cache
def _custom(group: str, version: str, kind: str) -> jsonschema_rs.Validator:
    schema = json.loads((_SCHEMAS / f"{group}_{version}_{kind}.json".lower()).read_text())
    return jsonschema_rs.validator_for(_closed(schema))


def _closed(schema: Any, *, at_root: bool = True) -> Any:
    """`schema` without room for fields that it does not name, but where it says so itself."""
    if isinstance(schema, list):
        return [_closed(each, at_root=False) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(value, at_root=False) for name, value in schema.items()}
    if "properties" in schema:
        closed["additionalProperties"] = False
    if at_root:
        closed["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {"type": "object"}}
    return closed
