"""Families of requests with small JSON bodies of any kind: changes of customers, and replays."""

import json
from urllib.parse import quote

from fuzzing import values
from fuzzing.calls import Call, bearer, family
from fuzzing.draft import Source, dumps
from fuzzing.wire import request_bytes


@family
def profile_changes(source: Source, key: str) -> Call:
    """PATCH bodies of any kind: what is answered with 202 must be stored."""
    random = source.random
    names = ("name", "email", "phone", "tags", "custom_fields")
    fields = {name: values.value(random) for name in names if source.chance(0.3)}
    if source.chance(0.5):
        member = random.choice(
            (
                values.number(random),
                values.value(random),
                b'"\\u0000"',
                values.nested(random, random.randint(1, 20)),
            )
        )
        fields["custom_fields"] = (
            b"{" + values.escaped(random, values.text(random) or "k") + b":" + member + b"}"
        )
    if source.chance(0.3):
        fields["name"] = random.choice(
            (b'"a\\u0000"', b'"\\ud800"', b'"Ada"', b"null", values.escaped(random, values.text(random)))
        )
    if source.chance(0.1):
        fields[random.choice(("unknown", "Name", ""))] = b"1"
    body = b"{" + b",".join(dumps(name) + b":" + text for name, text in fields.items()) + b"}"
    if source.chance(0.1):
        body = random.choice(
            (b"", b"[]", b"null", b"{", b'"x"', body[:-1], b"\xff", body + b"x", b"{}", b"[" * 9999)
        )
    media_type = random.choice(
        ("application/json", "application/merge-patch+json") if source.chance(0.95) else ("text/plain", "")
    )
    customer = quote(
        random.choice((f"customer-{random.randrange(500)}", values.text(random), "x" * 201)), safe=""
    )
    headers = (bearer(key), ("content-type", media_type))
    request = request_bytes("PATCH", f"/v1/customers/{customer}", headers, body)
    return Call(request, frozenset({202, 405, 413, 415, 422}), changes=True)


@family
def replays(source: Source, key: str) -> Call:
    """Replay bodies of any kind that match no refusal, so that the books of the run stay right."""
    random = source.random
    nobody = '"00000000-0000-8000-8000-000000000000"'
    fields = {"ids": f"[{nobody}]", "limit": "1"}
    for name in ("ids", "code", "event_type", "since", "until", "limit", "unknown"):
        if source.chance(0.3):
            instant = json.dumps(random.choice(values.GOOD_INSTANTS + values.BAD_INSTANTS))
            fields[name] = random.choice(
                (values.value(random).decode(), instant, values.number(random).decode(), '"\\u0000"')
            )
    if fields["ids"].strip() == "null":
        fields["ids"] = f"[{nobody}]"
    body = ("{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in fields.items()) + "}").encode()
    if source.chance(0.1):
        body = random.choice(
            (b"[]", b"{", b'"x"', b"\xff", body + b"x", b"[" * 9999, body * 2, b" " * 70_000)
        )
    headers = (bearer(key), ("content-type", "application/json"))
    return Call(request_bytes("POST", "/v1/rejected/replay", headers, body), frozenset({200, 413, 422}))


@family
def definitions(source: Source, key: str) -> Call:
    """Schemas of any kind, for an event type that no event is of."""
    random = source.random
    keywords = (
        "type", "properties", "items", "allOf", "enum", "pattern", "minimum", "required", "$ref", "$id", "not",
    )  # fmt: skip
    places = (
        b'"#"',
        b'"#/properties/a"',
        b'"https://example.com"',
        b'"^(a+)+$"',
        b'"(?=a)"',
        b'{"a":{"$ref":"#"}}',
    )
    members = {
        random.choice(keywords): random.choice((*places, values.value(random), values.number(random)))
        for _ in range(random.randint(0, 4))
    }
    schema = b"{" + b",".join(dumps(name) + b":" + text for name, text in members.items()) + b"}"
    if source.chance(0.1):
        schema = random.choice(
            (values.value(random), values.nested(random, random.randint(1, 60)), b"[" * 9999)
        )
    fields = {"schema": schema, "compatibility": b'"none"'}
    for name in ("description", "signal_type", "signal_score", "compatibility", "unknown"):
        if source.chance(0.1):
            fields[name] = random.choice((values.value(random), values.number(random), b'"revenue"'))
    body = b"{" + b",".join(dumps(name) + b":" + text for name, text in fields.items()) + b"}"
    headers = (bearer(key), ("content-type", "application/json"))
    request = request_bytes("PUT", "/v1/event-types/fuzzed", headers, body)
    return Call(request, frozenset({200, 201, 409, 413, 422}))
