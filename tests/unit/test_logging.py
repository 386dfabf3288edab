import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from common.logging import configure_logging


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def crash(secret: str) -> None:
    raise ValueError(f"a message of {len(secret)} characters")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_local_variables(log_format: Any, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", log_format)
    try:
        crash("sspp_key_of_someone")
    except ValueError:
        structlog.get_logger("test").exception("it_crashed")

    out = capsys.readouterr().out
    assert "a message of 19 characters" in out
    assert "crash" in out
    assert "sspp_key_of_someone" not in out.replace('crash("sspp_key_of_someone")', "")


def test_a_line_is_one_json_object_with_what_was_bound(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger("test").info("batch_stored", stored=3)
        logging.getLogger("library").warning("a library speaks %s", "up")

    own, foreign = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (own["event"], own["stored"], own["request_id"], own["level"]) == ("batch_stored", 3, "r1", "info")
    assert (foreign["event"], foreign["request_id"], foreign["logger"]) == (
        "a library speaks up",
        "r1",
        "library",
    )


def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("WARNING", "json")
    structlog.get_logger("test").info("quiet")
    logging.getLogger("elastic_transport.transport").info("quiet too")

    assert capsys.readouterr().out == ""
