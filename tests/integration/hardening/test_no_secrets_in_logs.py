"""Everything is driven at DEBUG, failures included: no output and no command line shows a password or a key."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import httpx
import psycopg
from patience import PATIENCE_SECONDS

SEARCH_PASSWORD = "search-pa55-3f8"
WRONG_PASSWORD = "wrong-pa55-7c1"
BODY_SECRET = "what-a-customer-wrote-91d"
SSPP = Path(sys.executable).with_name("sspp")


def with_credentials(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{place}"))


def passwords(urls: Iterable[str]) -> set[str]:
    return {password for url in urls if (password := urlsplit(url).password)}


def command_lines() -> str:
    """Those of all processes that we may see, where the system lists them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it has ended meanwhile
            continue
    return "\n".join(found)


def test_no_output_and_no_command_line_shows_a_secret(
    environment: dict[str, str],
    logins: Callable[[str, str], str],
    start: Callable[..., Any],
    until: Callable[..., Any],
    api_store: Any,
    api_tenant: int,
) -> None:
    key, unknown = api_store.key(api_tenant, "ingest", "read"), "sspp_live_abcdefgh_" + "s3cr3t" * 8
    own_role = logins(environment["DATABASE_URL"], "sspp_api")
    search = with_credentials(environment["ELASTICSEARCH_URL"], "elastic", SEARCH_PASSWORD)
    formats = itertools.cycle(("json", "console"))

    def start_loudly(name: str, **changes: str) -> Any:
        loud = {"LOG_LEVEL": "DEBUG", "LOG_FORMAT": next(formats), "ELASTICSEARCH_URL": search}
        return start(name, **loud | changes)

    api, ingest = start_loudly("api", DATABASE_URL=own_role), start_loudly("ingest")
    working = [api, ingest, start_loudly("index"), start_loudly("maintenance")]
    until(api.answers)

    # What works, and what clients do wrong.
    event = {"event_id": "e1", "event_type": "purchase", "customer_id": "c1", "data": {"note": BODY_SECRET}}
    with httpx.Client(base_url=api.url, headers={"Authorization": f"Bearer {key}"}) as client:
        assert client.post(
            "/v1/events", json=event | {"data": {"amount": "1.00", "currency": "USD"}}
        ).is_success
        until(lambda: client.get("/v1/events/e1").json().get("status") == "indexed")
        client.post("/v1/events", json=event | {"event_type": 7})
        client.get("/v1/signals", params={"limit": BODY_SECRET})
        for sent in (f"Bearer {unknown}", f"Basic {unknown}", f"Bearer {key}x", unknown):
            assert client.get("/v1/signals", headers={"Authorization": sent}).status_code == 401

        # What breaks inside, with tracebacks.
        with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
            connection.execute("ALTER TABLE customers RENAME TO hidden")
            assert client.get("/v1/customers/c1").status_code == 500
            inquiry = event | {"event_id": "e2", "event_type": "inquiry", "data": {"message": BODY_SECRET}}
            assert client.post("/v1/events", json=inquiry).is_success
            until(lambda: "batch_failed" in ingest.output)
            connection.execute("ALTER TABLE hidden RENAME TO customers")

    # Wrong and malformed URLs, each of them for itself.
    failing = [
        start_loudly(name, **{variable: with_credentials(environment[variable], "nobody", password)})
        for name, variable, password in (
            ("api", "DATABASE_URL", WRONG_PASSWORD),
            ("api", "REDIS_URL", WRONG_PASSWORD),
            ("api", "ELASTICSEARCH_URL", f"#{WRONG_PASSWORD}"),
            ("ingest", "DATABASE_URL", WRONG_PASSWORD),
            ("ingest", "REDIS_URL", f"/{WRONG_PASSWORD}#"),
            ("ingest", "RQ_REDIS_URL", WRONG_PASSWORD),
        )
    ]
    commands = [
        subprocess.run(
            [SSPP, "tenants", "list"],
            env={"PATH": os.environ["PATH"]} | environment | {"DATABASE_URL": url},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        for url in (
            with_credentials(environment["DATABASE_URL"], "nobody", WRONG_PASSWORD),
            with_credentials(environment["DATABASE_URL"], "nobody", f"/{WRONG_PASSWORD}"),
        )
    ]
    listed = command_lines()
    for each in failing:
        until(lambda each=each: each.process.poll() is not None or "nobody" in each.output)

    secrets = {
        key,
        unknown,
        SEARCH_PASSWORD,
        WRONG_PASSWORD,
        BODY_SECRET,
        key.rpartition("_")[2],
        "s3cr3t" * 2,
    }
    secrets |= passwords([*environment.values(), own_role])
    secrets |= {quote(secret, safe="") for secret in secrets}
    outputs = [each.output for each in (*working, *failing)] + [
        each.stdout + each.stderr for each in commands
    ]
    for text in (*outputs, listed):
        assert not {secret for secret in secrets if secret in text}, text
    # It was not silence that kept them.
    assert "request_answered" in api.output
    assert "request_crashed" in api.output
    assert all("***" in each.output for each in working)
    assert any("password authentication failed" in text for text in outputs)
    assert "rq worker ingest" in listed or not Path("/proc").exists()
