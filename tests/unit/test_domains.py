"""Every domain keeps the same promises; a new domain or type is covered by being listed.

Samples are JSON arrays in the domain's ``samples`` folder. ``<type>.valid.json`` holds
``{"because": what it shows, "data": {...}}``, ``<type>.invalid.json`` holds
``{"because": what is wrong, "at": JSON Pointer to the refused value, "data": {...}}``.
"""

import json
import re
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any

import jsonschema_rs
import pytest

from common.event_types.signal_type import SignalType
from worker.domains import DOMAINS
from worker.domains.domain import Domain, Event, EventType, load_event_types

DRAFT = "https://json-schema.org/draft/2020-12/schema"
STRICT_DRAFT = {
    "$schema": DRAFT,
    "$id": "urn:sspp:test:strict-draft",
    "$dynamicAnchor": "meta",
    "$ref": DRAFT,
    "unevaluatedProperties": False,
}
PROFILE_FIELDS = {"name", "email", "phone", "custom_fields", "tags"}
TYPES = [
    pytest.param(domain, event_type, id=f"{domain.name}-{event_type.name}-v{event_type.version}")
    for domain in DOMAINS
    for event_type in domain.event_types
]
every_type = pytest.mark.parametrize(("domain", "event_type"), TYPES)


def samples(domain: Domain, event_type: EventType, kind: str) -> list[dict[str, Any]]:
    path = files(f"worker.domains.{domain.name}") / "samples" / f"{event_type.name}.{kind}.json"
    # As in the worker: whole numbers are int, all others Decimal.
    loaded: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    return loaded


def event(event_type: str, data: dict[str, Any]) -> Event:
    return Event(
        tenant_id=1,
        event_key=(256).to_bytes(16),
        event_id="e-1",
        event_type=event_type,
        customer_id="c-1",
        occurred_at=datetime(2024, 1, 2, tzinfo=UTC),
        received_at=datetime(2024, 1, 3, tzinfo=UTC),
        trace_id=None,
        data=data,
    )


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
def test_a_domain_is_named_after_its_folder_and_has_types(domain: Domain) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", domain.name)
    assert load_event_types(f"worker.domains.{domain.name}") == domain.event_types
    assert domain.event_types


def test_no_domain_is_listed_twice_and_no_type_lives_in_two_domains() -> None:
    names = Counter(domain.name for domain in DOMAINS)
    types = Counter(name for domain in DOMAINS for name in {each.name for each in domain.event_types})
    assert [name for name, count in (names + types).items() if count > 1] == []


@every_type
def test_a_type_is_named_plainly_and_explains_itself(domain: Domain, event_type: EventType) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,99}", event_type.name)
    assert event_type.version >= 1
    assert event_type.description
    assert event_type.schema["title"]
    assert event_type.schema["type"] == "object"
    assert [name for name, each in event_type.schema["properties"].items() if not each["description"]] == []


@every_type
def test_a_schema_is_valid_and_uses_no_unknown_keyword(domain: Domain, event_type: EventType) -> None:
    assert event_type.schema["$schema"] == DRAFT
    jsonschema_rs.meta.validate(dict(event_type.schema))
    # The draft ignores what it does not know, such as a mistyped "minlength"; we do not.
    jsonschema_rs.validate(STRICT_DRAFT, event_type.schema)


def test_the_strict_draft_notices_a_mistyped_keyword_at_any_depth() -> None:
    assert not jsonschema_rs.is_valid(STRICT_DRAFT, {"properties": {"name": {"minlength": 1}}})


@every_type
def test_the_examples_of_a_schema_are_valid(domain: Domain, event_type: EventType) -> None:
    assert event_type.schema["examples"]
    for example in event_type.schema["examples"]:
        jsonschema_rs.validate(dict(event_type.schema), example)


@every_type
def test_valid_samples_pass(domain: Domain, event_type: EventType) -> None:
    valid = samples(domain, event_type, "valid")
    assert valid
    for sample in valid:
        assert sample.keys() == {"because", "data"}
        jsonschema_rs.validate(dict(event_type.schema), sample["data"])


@every_type
def test_invalid_samples_are_refused_where_they_are_wrong(domain: Domain, event_type: EventType) -> None:
    invalid = samples(domain, event_type, "invalid")
    assert invalid
    validator = jsonschema_rs.validator_for(dict(event_type.schema))
    for sample in invalid:
        assert sample.keys() == {"because", "at", "data"}
        refused = {
            "".join(f"/{step}" for step in error.instance_path)
            for error in validator.iter_errors(sample["data"])
        }
        assert sample["at"] in refused, sample["because"]


@every_type
def test_fields_that_only_the_sender_knows_are_welcome(domain: Domain, event_type: EventType) -> None:
    extra = {"x_internal": {"deep": [1, None]}}
    validator = jsonschema_rs.validator_for(dict(event_type.schema))
    for sample in samples(domain, event_type, "valid"):
        assert validator.is_valid(sample["data"] | extra)
        with_extra = domain.project(event(event_type.name, sample["data"] | extra))
        assert with_extra == domain.project(event(event_type.name, sample["data"]))


@every_type
def test_projecting_is_deterministic_and_leaves_the_event_alone(
    domain: Domain, event_type: EventType
) -> None:
    for first, second in zip(
        samples(domain, event_type, "valid"), samples(domain, event_type, "valid"), strict=True
    ):
        projection = domain.project(event(event_type.name, first["data"]))
        assert projection == domain.project(event(event_type.name, first["data"]))
        assert projection == domain.project(event(event_type.name, second["data"]))
        assert first == second


@every_type
def test_signals_keep_their_contract(domain: Domain, event_type: EventType) -> None:
    for sample in samples(domain, event_type, "valid"):
        signals = domain.project(event(event_type.name, sample["data"])).signals
        assert len(signals) <= 256
        for signal in signals:
            assert isinstance(signal.signal_type, SignalType)
            assert isinstance(signal.score, float)
            assert 0 <= signal.score <= 1
            assert isinstance(signal.revenue, Decimal)
            assert (signal.amount is None) == (signal.currency is None)
            if signal.amount is None:
                assert signal.revenue == 0
            else:
                assert isinstance(signal.amount, Decimal)
                assert signal.amount >= 0
                assert re.fullmatch("[A-Z]{3}", signal.currency or "")
                assert signal.revenue in {Decimal(0), signal.amount, signal.amount.copy_negate()}


@every_type
def test_a_profile_change_names_only_known_fields_of_the_right_kind(
    domain: Domain, event_type: EventType
) -> None:
    for sample in samples(domain, event_type, "valid"):
        profile = domain.project(event(event_type.name, sample["data"])).profile
        if profile is None:
            continue
        assert profile
        assert profile.keys() <= PROFILE_FIELDS
        assert all(
            profile.get(field) is None or isinstance(profile[field], str)
            for field in ("name", "email", "phone")
        )
        assert isinstance(profile.get("custom_fields", {}), dict)
        assert all(isinstance(tag, str) for tag in profile.get("tags", []))
