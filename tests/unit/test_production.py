"""What a process refuses to start with in production, and that a platform on one machine just runs."""

from typing import Any

import pytest

from common.errors import SettingsError
from common.production import check_production, is_strict
from common.settings import Settings

LOCAL = {
    "DATABASE_URL": "postgresql://sspp:xk3v9q@127.0.0.1/sspp",
    "REDIS_URL": "redis://:xk3v9q@127.0.0.1:6379/0",
    "ELASTICSEARCH_URL": "http://127.0.0.1:9200",
}
REMOTE = {
    "DATABASE_URL": "postgresql://sspp:xk3v9q@db/sspp?sslmode=verify-full",
    "REDIS_URL": "rediss://:xk3v9q@cache:6379/0",
    "ELASTICSEARCH_URL": "https://sspp:xk3v9q@search:9200",
}
SAID = {"SSPP_ENVIRONMENT": "production"}


def settings(**values: str) -> Settings:
    return Settings.model_validate(values)


@pytest.mark.parametrize(
    "values",
    [
        LOCAL,
        LOCAL | SAID,
        LOCAL | {"LOG_LEVEL": "DEBUG", "DATABASE_URL": "postgresql://postgres:postgres@localhost/sspp"},
        REMOTE,
        REMOTE | SAID,
        REMOTE
        | {
            "SSPP_ALLOW_PLAINTEXT": "redis, postgresql",
            "REDIS_URL": "redis://:xk3v9q@cache",
            "DATABASE_URL": "postgresql://sspp:xk3v9q@db/sspp",
        },
        {name: url.replace("xk3v9q", "postgres") for name, url in REMOTE.items()}
        | {"SSPP_ENVIRONMENT": "development", "LOG_LEVEL": "DEBUG"},
    ],
)
def test_what_is_safe_or_nobody_elses_business_starts(values: dict[str, str]) -> None:
    check_production(settings(**values))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"DATABASE_URL": "postgresql://sspp:xk3v9q@db/x"}, "DATABASE_URL: the connection is not encrypted"),
        ({"DATABASE_URL": "postgresql://sspp@db/x?sslmode=require"}, "DATABASE_URL: it has no password"),
        ({"DATABASE_URL": "postgresql://sspp:sspp@127.0.0.1/x"}, "DATABASE_URL: everybody knows"),
        ({"DATABASE_URL": "postgresql://ann:ann@127.0.0.1/x"}, "DATABASE_URL: everybody knows"),
        ({"REDIS_URL": "redis://:xk3v9q@cache"}, "REDIS_URL: .*SSPP_ALLOW_PLAINTEXT=redis"),
        ({"REDIS_URL": "rediss://cache"}, "REDIS_URL: it has no password"),
        ({"REDIS_URL": "redis://:redis@127.0.0.1"}, "REDIS_URL: everybody knows"),
        ({"CACHE_URL": "redis://:xk3v9q@cache"}, "CACHE_URL: the connection is not encrypted"),
        ({"ELASTICSEARCH_URL": "http://sspp:xk3v9q@search"}, "ELASTICSEARCH_URL: .* an https:// URL"),
        ({"ELASTICSEARCH_URL": "https://search"}, "ELASTICSEARCH_URL: it has no password"),
        ({"ELASTICSEARCH_URL": "https://elastic:ChangeMe@search"}, "ELASTICSEARCH_URL: everybody knows"),
        ({"LOG_LEVEL": "DEBUG"}, "LOG_LEVEL"),
        ({"SSPP_ALLOW_PLAINTEXT": "redis", "DATABASE_URL": "postgresql://a:xk3v9q@db/x"}, "DATABASE_URL"),
    ],
)
@pytest.mark.parametrize("base", [LOCAL | SAID, REMOTE, REMOTE | SAID])
def test_what_is_unsafe_is_refused_with_its_name_and_the_cure(
    base: dict[str, str], changes: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingsError, match=words) as refused:
        check_production(settings(**base | changes))
    assert "xk3v9q" not in refused.value.detail


def test_everything_that_is_wrong_is_told_at_once() -> None:
    wrong = settings(
        DATABASE_URL="postgresql://postgres:postgres@db/x",
        REDIS_URL="redis://cache",
        ELASTICSEARCH_URL="http://search",
        LOG_LEVEL="DEBUG",
    )
    with pytest.raises(SettingsError) as refused:
        check_production(wrong, rq_redis_url="redis://other")
    for name in ("DATABASE_URL", "REDIS_URL", "RQ_REDIS_URL", "ELASTICSEARCH_URL", "LOG_LEVEL"):
        assert f" {name}: " in refused.value.detail


@pytest.mark.parametrize(
    ("values", "strict"),
    [
        (LOCAL, False),
        (LOCAL | SAID, True),
        (LOCAL | {"REDIS_URL": REMOTE["REDIS_URL"]}, True),
        (REMOTE | {"SSPP_ENVIRONMENT": "development"}, False),
    ],
)
def test_production_is_certain_if_it_is_said_or_a_store_is_elsewhere(
    values: dict[str, Any], strict: bool
) -> None:
    assert is_strict(settings(**values)) == strict


def test_encryption_that_believes_anybody_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    check_production(settings(**REMOTE | {"DATABASE_URL": "postgresql://a:xk3v9q@db/x?sslmode=require"}))

    out = capsys.readouterr().out
    assert "store_not_verified" in out
    assert "verify-full" in out
