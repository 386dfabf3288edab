"""Redis as somebody else might have set it up."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis


@contextmanager
def configured(client: Redis, **values: object) -> Iterator[None]:
    """Settings of Redis for as long as the block lasts."""
    names = {name.replace("_", "-"): value for name, value in values.items()}
    before = {name: client.config_get(name)[name] for name in names}
    try:
        for name, value in names.items():
            client.config_set(name, value)
        yield
    finally:
        for name, value in before.items():
            client.config_set(name, value)
