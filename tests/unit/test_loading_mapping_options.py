from decimal import Decimal
from pathlib import Path

import pytest

from infrastructure.loading.errors import MappingError
from infrastructure.loading.mapping import ColumnMapping, Field
from infrastructure.loading.mapping_options import mapping_beside, mapping_from_options, read_mapping_file
from infrastructure.loading.values import encode

REPOSITORY = Path(__file__).resolve().parents[2]


def from_options(*maps: str, constants: tuple[str, ...] = ()) -> ColumnMapping:
    return mapping_from_options(maps, constants, event_type=None, time_format=None)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_options_name_fields_types_and_columns() -> None:
    assert from_options(
        "customer_id", "amount:decimal=Total = net", "data.event_id=id", "a.b:int"
    ).fields == {
        ("customer_id",): Field("customer_id"),
        ("data", "amount"): Field("Total = net", "decimal"),
        ("data", "event_id"): Field("id"),
        ("data", "a", "b"): Field("a.b", "int"),
    }


@pytest.mark.parametrize(
    ("maps", "constants", "message"),
    [
        (("a=",), (), "give TARGET"),
        (("=b",), (), "does not name a field"),
        (("a..b=c",), (), "does not name a field"),
        (("a=b", "data.a=c"), (), "data.a is named twice"),
        ((), ("a",), "give TARGET"),
        ((), ("a:int=x",), "not a whole number"),
        ((), ("a:float=1",), "none of string"),
    ],
)
def test_options_of_another_form_are_refused(
    maps: tuple[str, ...], constants: tuple[str, ...], message: str
) -> None:
    with pytest.raises(MappingError, match=message):
        from_options(*maps, constants=constants)


def test_a_toml_mapping_says_all_that_options_can(tmp_path: Path) -> None:
    file = read_mapping_file(
        write(
            tmp_path / "m.toml",
            """
            event_type = "purchase"
            source = "shop"
            time_format = "epoch"
            delimiter = ";"
            encoding = "cp1252"
            [map]
            customer_id = "who"
            amount = { column = "total", type = "decimal" }
            address.city = "city"
            [set]
            currency = "USD"
            rate = 0.1000000000000000000000001
            flags.gift = true
            """,
        )
    )
    assert (file.source, file.delimiter, file.encoding, file.mapping.time_format) == (
        "shop",
        ";",
        "cp1252",
        "epoch",
    )
    assert file.mapping.fields == {
        ("customer_id",): Field("who"),
        ("data", "amount"): Field("total", "decimal"),
        ("data", "address", "city"): Field("city"),
    }
    assert file.mapping.constants == {
        ("event_type",): "purchase",
        ("data", "currency"): "USD",
        ("data", "rate"): Decimal("0.1000000000000000000000001"),
        ("data", "flags", "gift"): True,
    }
    assert encode(file.mapping.constants["data", "rate"]) == b"0.1000000000000000000000001"


def test_a_json_mapping_is_read_by_its_name(tmp_path: Path) -> None:
    file = read_mapping_file(
        write(tmp_path / "m.json", '{"map": {"customer_id": "who"}, "event_type": "note"}')
    )
    assert file.mapping.fields == {("customer_id",): Field("who")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("event = 'x'", "Unknown: event; known are"),
        ("event_type = 1", "event_type must be text"),
        ("map = 1", "map must be a table"),
        ("[map]\ncustomer_id = 1", "customer_id must be"),
        ("[map]\na = { column = 1 }", "data.a must be"),
        ("[set]\ncustomer_id = 1", "customer_id must be text"),
        ("[map]\na = 'x'\ndata.a = 'y'", "data.a is named twice"),
        ("[map", "is not valid"),
    ],
)
def test_a_mapping_file_that_is_wrong_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MappingError, match=message) as refused:
        read_mapping_file(write(tmp_path / "m.toml", text))
    assert "m.toml" in refused.value.detail


def test_a_missing_mapping_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="Cannot read the mapping"):
        read_mapping_file(tmp_path / "none.toml")


def test_later_mappings_take_the_place_of_earlier_ones_field_by_field() -> None:
    first = from_options("a=x", "b=y", constants=("c=1",))
    second = mapping_from_options(["c=z"], ["a=2"], event_type=None, time_format="epoch")
    assert first.updated(second) == ColumnMapping(
        {("data", "b"): Field("y"), ("data", "c"): Field("z")}, {("data", "a"): "2"}, "epoch"
    )
    assert second.updated(first).time_format == "epoch"


@pytest.mark.parametrize("name", ["sales.csv", "sales.csv.gz", "sales.tsv"])
def test_the_mapping_beside_a_table_is_found(tmp_path: Path, name: str) -> None:
    assert mapping_beside(tmp_path / name) is None
    beside = write(tmp_path / "sales.toml", "")
    assert mapping_beside(tmp_path / name) == beside


def test_the_sample_data_comes_with_its_mapping() -> None:
    beside = mapping_beside(REPOSITORY / "data/cdnow_purchases.csv.gz")
    assert beside is not None
    assert read_mapping_file(beside).mapping.constants[("event_type",)] == "purchase"
