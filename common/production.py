"""What a process refuses to start with in production: stores that anybody may enter or overhear, and debugging on."""

from collections.abc import Collection, Iterator, Sequence

import structlog

from common.errors import SettingsError
from common.setting_values import split_list
from common.settings import Settings
from common.store_urls import StoreAccess, elasticsearch_access, postgresql_access, redis_access

# What images, manuals and tutorials ship with, and what people type who mean to change it later.
_WELL_KNOWN_PASSWORDS = """
123456 12345678 admin administrator change_me changeme default demo elastic example foobared guest letmein
mysecretpassword pass passw0rd password postgres postgresql redis root secret sspp test valkey
"""

_ENCRYPTED = {
    "postgresql": "sslmode=verify-full in the URL",
    "redis": "a rediss:// URL",
    "elasticsearch": "an https:// URL",
}

log = structlog.get_logger(__name__)


def is_strict(settings: Settings) -> bool:
    """Whether this is production for certain.

    It is if SSPP_ENVIRONMENT says so. Unset it means production too, but then a platform all of whose stores are on the
    machine itself, as `sspp up` has it, is one that somebody tries out.

    Raises:
        SettingsError: the URL of a store is malformed.
    """
    if settings.environment != "production":
        return False
    said_so = "environment" in settings.model_fields_set
    return said_so or not all(access.is_local for access in _accesses(settings))


def check_production(settings: Settings, *, rq_redis_url: str | None = None) -> None:
    """Refuse what must not be in production; log what could be better.

    Args:
        settings: those of the process.
        rq_redis_url: what RQ's own command line connects to, in a worker.

    Raises:
        SettingsError: names each setting that is wrong, and says what to set; or the URL of a store is malformed.
    """
    accesses = _accesses(settings, rq_redis_url)
    if not is_strict(settings):
        return
    may_be_plain = split_list(settings.allow_plaintext)
    problems = [problem for access in accesses for problem in _problems(access, may_be_plain)]
    if settings.log_level == "DEBUG":
        problems.append("LOG_LEVEL: DEBUG tells the logs too much; set INFO")
    if problems:
        raise SettingsError(
            f"refused in production: {'; '.join(problems)}. Where nobody can be harmed, set"
            " SSPP_ENVIRONMENT=development"
        )
    for access in accesses:
        if access.channel == "unverified" and not access.is_local:
            log.warning(
                "store_not_verified",
                variable=access.variable,
                detail=f"encrypted, but any server that answers is believed; set {_ENCRYPTED[access.store]}",
            )


def _accesses(settings: Settings, rq_redis_url: str | None = None) -> Sequence[StoreAccess]:
    redis_urls = {
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "CACHE_URL": settings.cache_url.get_secret_value() if settings.cache_url else None,
        "RQ_REDIS_URL": rq_redis_url,
    }
    return (
        postgresql_access("DATABASE_URL", settings.database_url.get_secret_value()),
        *(redis_access(variable, url) for variable, url in redis_urls.items() if url),
        elasticsearch_access("ELASTICSEARCH_URL", settings.elasticsearch_url.get_secret_value()),
    )


def _problems(access: StoreAccess, may_be_plain: Collection[str]) -> Iterator[str]:
    password = access.password or ""
    if password.lower() in _WELL_KNOWN_PASSWORDS.split() or (password and password == access.user):
        yield f"{access.variable}: everybody knows this password; set another one"
    if access.is_local:
        return
    if not password and not access.proves_otherwise:
        yield f"{access.variable}: it has no password; have the store ask for one"
    if access.channel == "plain" and access.store not in may_be_plain:
        yield (
            f"{access.variable}: the connection is not encrypted; use {_ENCRYPTED[access.store]}, or"
            f" SSPP_ALLOW_PLAINTEXT={access.store} where the network keeps others out"
        )
