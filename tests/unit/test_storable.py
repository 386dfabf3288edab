import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidEventError
from common.storable import MOST_KEY_CHARACTERS, parse_storable


def refusal(text: bytes, pointer: str = "/data") -> tuple[str, str]:
    with pytest.raises(InvalidEventError) as caught:
        parse_storable(text, pointer)
    return caught.value.code, caught.value.path


@pytest.mark.parametrize(
    "number",
    ["9" * 100, "-" + "1" * 100, "1e308", "1E-308", "1.7976931348623157e308", "0e308", "0." + "1" * 99, "-0"],
)
def test_numbers_within_the_limits_are_accepted_exactly(number: str) -> None:
    assert parse_storable(b'{"n": %b}' % number.encode())["n"] == Decimal(number)


@pytest.mark.parametrize(
    "number",
    [
        "9" * 101,
        "9" * 5000,
        "1e309",
        "9.99e308",  # of 309 digits like the largest double, and larger
        "-1.8e308",
        "1e-309",
        "0e-400",
        "0e999",
        "1e99999999999999999999",
        "1." + "1" * 400,
    ],
)
def test_numbers_beyond_the_limits_are_refused_with_their_path(number: str) -> None:
    text = b'{"n": [0, {"a/b": %b}]}' % number.encode()

    assert refusal(text) == ("number_out_of_range", "/data/n/1/a~1b")


def test_short_numbers_that_are_long_when_written_out_are_refused() -> None:
    assert parse_storable(b'{"n": [%b1]}' % (b"1e300," * 800))["n"][0] == Decimal("1e300")
    assert refusal(b'{"n": [%b1]}' % (b"1e300," * 900)) == ("number_out_of_range", "/data/n/870")
    assert refusal(b'{"n": [%b1]}' % (b"1e99," * 9000))[0] == "number_out_of_range"


def test_long_digits_within_a_string_are_no_number() -> None:
    parse_storable(b'{"n": "%b , 9e999"}' % (b"9" * 500))


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"note": "\0"}, "/data/note"),
        ({"a": [{"b~/\0": 1}]}, "/data/a/0/b~0~1\\u0000"),
        ({"\0": 1}, "/data/\\u0000"),
    ],
)
def test_u0000_is_refused_wherever_it_stands(data: dict[str, Any], path: str) -> None:
    assert refusal(json.dumps(data).encode()) == ("unsupported_character", path)


def test_an_escaped_backslash_before_u0000_is_plain_text() -> None:
    assert parse_storable(rb'{"note": "\\u0000"}') == {"note": "\\u0000"}


@pytest.mark.parametrize(
    ("dropped", "code"), [(b"1e999", "number_out_of_range"), (b'"\\u0000"', "unsupported_character")]
)
def test_a_repeated_key_hides_nothing_that_postgresql_would_read(dropped: bytes, code: str) -> None:
    assert refusal(b'{"a": {"x": %b, "x": 1}}' % dropped) == (code, "/data/a/x")


def test_a_key_that_elasticsearch_may_refuse_is_refused_with_the_place_of_its_object() -> None:
    longest = "☃" * MOST_KEY_CHARACTERS

    assert parse_storable(json.dumps({longest: 1}).encode()) == {longest: 1}
    assert refusal(json.dumps({"a": {longest + "x": 1}}).encode()) == ("key_too_long", "/data/a")


def test_paths_begin_at_the_pointer_that_is_given() -> None:
    assert refusal(b'{"name": "\\u0000"}', "") == ("unsupported_character", "/name")


@given(
    st.dictionaries(
        st.text(),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists),
    )
)
def test_what_is_accepted_is_what_was_written(data: dict[str, Any]) -> None:
    try:
        parsed = parse_storable(json.dumps(data).encode())
    except InvalidEventError as error:
        assert error.code in {"unsupported_character", "number_out_of_range", "invalid_json"}
    else:
        assert parsed == data
