"""Which servers the environment gives to the tests, and which are a running platform's and none of theirs."""

from collections.abc import MutableMapping

_SERVERS = ("DATABASE_URL", "REDIS_URL", "CACHE_URL", "ELASTICSEARCH_URL")
# What else .sspp/env says, the file that `sspp up` writes.
_PLATFORM = ("RQ_REDIS_URL", "RQ_WORKER_CLASS", "SSPP_API_URL", "SSPP_API_KEY", "SSPP_ADMIN_KEY")


def take_given_servers(environment: MutableMapping[str, str]) -> dict[str, str]:
    """The URLs of servers that are given for tests, by variable.

    None are where RQ_WORKER_CLASS says that this is the environment of a platform's processes, as in a shell that has
    read ``.sspp/env``: those servers are in use. What such an environment says of that platform is removed from it, so
    that no program that a test starts finds it.
    """
    if "RQ_WORKER_CLASS" in environment:
        for name in (*_SERVERS, *_PLATFORM):
            environment.pop(name, None)
    return {name: environment[name] for name in _SERVERS if environment.get(name)}
