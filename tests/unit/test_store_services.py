"""A service of libpq's, which names a server in a file, hides nothing from what production refuses."""

from pathlib import Path

import pytest

from common.errors import SettingsError
from common.store_urls import postgresql_access


@pytest.mark.parametrize("url", ["postgresql:///x?service=far", "service=far dbname=x"])
def test_a_url_that_names_a_service_is_refused_as_nobody_knows_where_that_is(url: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL: it names a service; set PGSERVICE"):
        postgresql_access("DATABASE_URL", url)


@pytest.mark.parametrize(
    ("lines", "is_local", "channel"),
    [
        ("host=db.example.org", False, "plain"),
        ("hostaddr=10.0.0.5", False, "plain"),
        ("host=db.example.org\nsslmode=verify-full", False, "verified"),
        ("host=127.0.0.1", True, "plain"),
    ],
)
def test_one_that_the_environment_names_is_looked_up(
    lines: str, is_local: bool, channel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = tmp_path / "services.conf"
    services.write_text(f"[far]\n{lines}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    monkeypatch.setenv("PGSERVICE", "far")

    access = postgresql_access("DATABASE_URL", "postgresql://ann:secret@/x")

    assert (access.is_local, access.channel) == (is_local, channel)
