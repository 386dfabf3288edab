"""The tests use servers that are given to them, and leave those of a running platform alone."""

from given_servers import take_given_servers

URLS = {"DATABASE_URL": "postgresql://db/test", "REDIS_URL": "redis://queue/3"}
# As `sspp up` writes it, and a shell reads it.
PLATFORM = URLS | {
    "CACHE_URL": "redis://queue/1",
    "ELASTICSEARCH_URL": "http://search:9200",
    "RQ_REDIS_URL": "redis://queue/3",
    "RQ_WORKER_CLASS": "worker.worker.DrainWorker",
    "SSPP_API_URL": "http://127.0.0.1:8000",
    "SSPP_API_KEY": "k",
    "SSPP_ADMIN_KEY": "k",
}


def test_urls_alone_name_servers_for_the_tests() -> None:
    environment = {"PATH": "/bin", "ELASTICSEARCH_URL": "", **URLS}
    assert take_given_servers(environment) == URLS
    assert environment.items() >= URLS.items()


def test_the_servers_of_a_running_platform_are_not_used_nor_found_by_what_tests_start() -> None:
    environment = {"PATH": "/bin", **PLATFORM}
    assert take_given_servers(environment) == {}
    assert environment == {"PATH": "/bin"}


def test_without_any_there_are_none() -> None:
    assert take_given_servers({"PATH": "/bin"}) == {}
