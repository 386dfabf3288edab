"""What the URL of a store says: where it is, who is let in, and whether others can listen."""

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo
from redis.connection import SSLConnection, parse_url

from common.errors import SettingsError

Store = Literal["postgresql", "redis", "elasticsearch"]

_SECRET_PARAMETER = re.compile(r"([?&][^=&]*password[^=&]*=)[^&]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """How a process gets to a store.

    Attributes:
        store: which one.
        variable: the setting that says so.
        is_local: over the loopback interface or a Unix socket, so that the network sees nothing of it.
        user: the name to log in with, if any.
        password: the password, if any.
        proves_otherwise: whether something else stands in for the password: a client certificate, a password file.
        channel: ``plain``: others can listen. ``unverified``: encrypted, but whoever is in between can pretend to be
            the store. ``verified``: encrypted, and the store's certificate is checked, its name included.
    """

    store: Store
    variable: str
    is_local: bool
    user: str | None
    password: str | None = field(repr=False)
    proves_otherwise: bool
    channel: Literal["plain", "unverified", "verified"]


def postgresql_access(variable: str, url: str) -> StoreAccess:
    """What libpq makes of `url`, and of its own ``PG…`` variables where the URL is silent, ``PGSERVICE`` among them.

    Raises:
        SettingsError: libpq cannot read it, or it names a service: where that is, libpq says only of ``PGSERVICE``.
    """
    _check_form(variable, url)
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise _malformed(variable) from None
    if "service" in given:
        raise SettingsError(f"{variable}: it names a service; set PGSERVICE instead, or name the host")
    parameters = {
        option.keyword.decode(): option.val.decode() for option in Conninfo.get_defaults() if option.val
    } | {name: str(value) for name, value in given.items() if value is not None}
    if not re.fullmatch(r"[\d,]*", parameters.get("port", "")):
        raise _malformed(variable)
    hosts = (parameters.get("hostaddr") or parameters.get("host") or "").split(",")
    sslmode = parameters.get("sslmode", "prefer")
    return StoreAccess(
        "postgresql",
        variable,
        all(not host or host.startswith(("/", "@")) or _is_loopback(host) for host in hosts),
        parameters.get("user"),
        parameters.get("password"),
        bool(parameters.get("passfile") or parameters.get("sslcert")),
        "verified"
        if sslmode == "verify-full" or parameters.get("gssencmode") == "require"
        else "unverified"
        if sslmode in {"require", "verify-ca"}
        else "plain",
    )


def redis_access(variable: str, url: str) -> StoreAccess:
    """What redis-py makes of `url`.

    Raises:
        SettingsError: it cannot read it, or a file that it names is not there.
    """
    _check_form(variable, url)
    try:
        options = parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        raise _malformed(variable) from None
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        if name in options and not Path(options[name]).is_file():
            raise SettingsError(f"{variable}: {name} names no file that is there")
    encrypted = options.get("connection_class") is SSLConnection
    checked = options.get("ssl_cert_reqs", "required") == "required" and options.get(
        "ssl_check_hostname", True
    )
    return StoreAccess(
        "redis",
        variable,
        "path" in options or _is_loopback(options.get("host", "localhost")),
        options.get("username"),
        options.get("password"),
        "ssl_certfile" in options,
        "plain" if not encrypted else "verified" if checked else "unverified",
    )


def elasticsearch_access(variable: str, url: str) -> StoreAccess:
    """What the URL of an HTTP server says; its certificate is always checked.

    Raises:
        SettingsError: it is no such URL.
    """
    _check_form(variable, url)
    try:
        parts = urlsplit(url)
        well_formed = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        well_formed = False
    if not well_formed:
        raise _malformed(variable) from None
    return StoreAccess(
        "elasticsearch",
        variable,
        _is_loopback(parts.hostname or ""),
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
        proves_otherwise=False,
        channel="verified" if parts.scheme == "https" else "plain",
    )


def mask_password(url: str) -> str:
    """`url` with whatever may be a password replaced by ``***``.

    A password that lacks its percent-encoding (``/``, ``#``, ``?``, ``@``) breaks the URL in the wrong places, so this
    takes everything up to the last ``@`` for user and password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:  # libpq's other form, or a mistake
        return "***"
    credentials, at, place = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    shown = f"{scheme}://{user}{':***' if colon else ''}{at}{place}"
    return _SECRET_PARAMETER.sub(r"\1***", shown)


def _check_form(variable: str, url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _malformed(variable) from None
    if parts.netloc and any("@" in part for part in (parts.path, parts.query, parts.fragment)):
        raise _malformed(variable)  # a piece of the password was taken for the end of the host


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _malformed(variable: str) -> SettingsError:
    # The URL itself may carry a password.
    return SettingsError(
        f"{variable}: this is no URL of such a server; what is special in a password has to be percent-encoded"
    )
