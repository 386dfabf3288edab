"""What the environment may say, and how it is told what it may not."""

import pytest

from common.errors import SettingsError
from common.settings import load_settings

URLS = {"DATABASE_URL": "unused:", "REDIS_URL": "unused:", "ELASTICSEARCH_URL": "unused:"}


@pytest.fixture(autouse=True)
def fresh_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, url in URLS.items():
        monkeypatch.setenv(name, url)
    load_settings.cache_clear()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSPP_LIVENESS_SECONDS", "inf"),
        ("SSPP_LIVENESS_SECONDS", "0.0001"),  # less than the millisecond that Redis counts in
        ("SSPP_LIVENESS_SECONDS", "1e300"),
        ("SSPP_DRAIN_BUDGET_SECONDS", "inf"),
        ("SSPP_BODY_TIMEOUT_SECONDS", "nan"),
        ("SSPP_RETENTION_MONTHS", "99999"),  # would reach back beyond the first year
        ("SSPP_PARTITIONS_AHEAD", "99999"),
        ("SSPP_OUTBOX_KEEP_SECONDS", "99999999999999"),
        ("SSPP_INDEX_RESEND_SECONDS", "99999999999999999"),
        ("SSPP_ALLOW_PLAINTEXT", "postgresql,everything"),
        ("SSPP_TRUSTED_PROXIES", "10.0.0.0/8,proxy"),
        ("SSPP_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("SSPP_ELASTICSEARCH_CA_FILE", "/no/such/file"),
    ],
)
def test_a_value_that_nothing_could_work_with_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=name):
        load_settings()
