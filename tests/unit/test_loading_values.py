import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.loading.values import CONVERTERS, encode, time_converter


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6) | st.integers().map(Decimal))
def test_decimals_and_numbers_keep_every_digit(value: Decimal) -> None:
    text = format(value, "f")
    assert json.loads(encode(CONVERTERS["decimal"](text))) == text
    assert encode(CONVERTERS["number"](text)).decode() == text


@pytest.mark.parametrize(
    ("type_", "text", "sent"),
    [
        ("string", "007", '"007"'),
        ("string", " a b ", '" a b "'),
        ("int", " +007 ", "7"),
        ("int", "-12", "-12"),
        ("int", "9" * 30, "9" * 30),
        ("decimal", "2500315.630", '"2500315.630"'),
        ("decimal", "+012.50", '"12.50"'),
        ("decimal", ".5", '"0.5"'),
        ("decimal", "5.", '"5"'),
        ("number", "0.1000000000000000000000000001", "0.1000000000000000000000000001"),
        ("bool", "Yes", "true"),
        ("bool", "0", "false"),
        ("json", '{"a": [1.10,\n null]}', '{"a": [1.10,  null]}'),
        ("json", " 1.10 ", "1.10"),
    ],
)
def test_a_cell_becomes_a_value_of_its_type(type_: str, text: str, sent: str) -> None:
    assert encode(CONVERTERS[type_](text)).decode().strip() == sent


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("int", "1.0"),
        ("int", "one"),
        ("int", "\u0661"),
        ("decimal", "1,234.50"),
        ("decimal", "1E+5"),
        ("decimal", "NaN"),
        ("decimal", "."),
        ("number", "Infinity"),
        ("bool", "maybe"),
        ("json", "{"),
        ("json", "1, 2"),
        ("json", "NaN"),
    ],
)
def test_a_cell_of_another_type_is_refused_by_name(type_: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"is (not|neither)"):
        CONVERTERS[type_](text)


@pytest.mark.parametrize(
    ("time_format", "text", "sent"),
    [
        ("iso", "1997-01-01", "1997-01-01T00:00:00Z"),
        ("iso", "19970101", "1997-01-01T00:00:00Z"),
        ("iso", "1997-01-01 12:30", "1997-01-01T12:30:00Z"),
        ("iso", "1997-01-01T12:30:00.25Z", "1997-01-01T12:30:00.250000Z"),
        ("iso", "0001-01-01T00:00:00+02:00", "0001-01-01T00:00:00+02:00"),
        ("iso", "9999-12-31", "9999-12-31T00:00:00Z"),
        ("epoch", "0", "1970-01-01T00:00:00Z"),
        ("epoch", "852076800.5", "1997-01-01T00:00:00.500000Z"),
        ("epoch_ms", "-1", "1969-12-31T23:59:59.999000Z"),
        ("%d/%m/%Y", "31/12/1997", "1997-12-31T00:00:00Z"),
        ("%d.%m.%Y %H:%M %z", "31.12.1997 01:00 +0100", "1997-12-31T01:00:00+01:00"),
    ],
)
def test_instants_become_rfc_3339(time_format: str, text: str, sent: str) -> None:
    assert time_converter(time_format)(text) == sent


@pytest.mark.parametrize(
    ("time_format", "text"),
    [("iso", "01/02/1997"), ("iso", "1997-02-30"), ("epoch", "x"), ("%d/%m/%Y", "1997")],
)
def test_what_is_no_instant_is_refused(time_format: str, text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        time_converter(time_format)(text)
