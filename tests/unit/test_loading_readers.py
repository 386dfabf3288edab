import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.loading.errors import LoadError, MappingError
from infrastructure.loading.mapping import ColumnMapping
from infrastructure.loading.mapping_options import mapping_from_options
from infrastructure.loading.readers import BadRow, Event, Table, read_csv, read_json, read_ndjson


def mapping(*maps: str, constants: tuple[str, ...] = (), time_format: str | None = None) -> ColumnMapping:
    return mapping_from_options(maps, constants, event_type="note", time_format=time_format)


SIMPLE = mapping("customer_id", "text")


def read(text: str | bytes, table: Table | None = None) -> list[Event | BadRow]:
    raw = text.encode() if isinstance(text, str) else text
    return list(read_csv(io.BytesIO(raw), table or Table(SIMPLE), source="notes.csv"))


def sent(row: Event | BadRow) -> Any:
    assert isinstance(row, Event), row
    return json.loads(row.body)


def texts(rows: list[Event | BadRow]) -> list[str]:
    return [sent(row)["data"]["text"] for row in rows]


def test_a_row_becomes_an_event_with_the_row_number_in_its_id() -> None:
    first, second = read("customer_id,text\n007,hello\n007,hello\n")
    assert sent(first) == {
        "event_id": "notes.csv:1",
        "event_type": "note",
        "customer_id": "007",
        "data": {"text": "hello"},
    }
    assert (second.row, sent(second)["event_id"]) == (2, "notes.csv:2")


@pytest.mark.parametrize(
    "text",
    [
        "customer_id,text\n1,a\n2,b\n",
        "customer_id,text\r\n1,a\r\n2,b",
        "\ufeffcustomer_id,text\n1,a\n2,b\n",
        "\n\ncustomer_id,text\n\n1,a\n\n\n2,b\n\n",
        '"customer_id","text"\n"1","a"\n2,b\n',
    ],
    ids=["plain", "crlf without an end", "bom", "empty lines", "quoted"],
)
def test_the_usual_kinds_of_csv_read_alike(text: str) -> None:
    rows = read(text)
    assert texts(rows) == ["a", "b"]
    assert [row.row for row in rows] == [1, 2]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1), max_size=5))
def test_whatever_a_quoted_cell_holds_arrives(values: list[str]) -> None:
    table = io.StringIO()
    writer = csv.writer(table, quoting=csv.QUOTE_ALL)
    writer.writerow(["customer_id", "text"])
    writer.writerows(["1", value] for value in values)
    assert texts(read(table.getvalue())) == values


def test_other_delimiters_and_encodings_are_read() -> None:
    table = Table(SIMPLE, delimiter=";", encoding="cp1252")
    assert texts(read("customer_id;text\n1;Müller, 5 €\n".encode("cp1252"), table)) == ["Müller, 5 €"]


def test_a_bad_row_costs_itself_only() -> None:
    rows = read(b'customer_id,text\n1,a\n2\n3,b,c\n,x\n4,"a"b\n5,\xff\n6,z\n')
    assert [(row.row, row.reason) for row in rows if isinstance(row, BadRow)] == [
        (2, "expected 2 columns, found 1"),
        (3, "expected 2 columns, found 3"),
        (4, "column customer_id: customer_id is empty"),
        (5, "not valid CSV: ',' expected after '\"'"),
        (6, "the text is not valid in the file's encoding"),
    ]
    assert [sent(row)["event_id"] for row in rows if isinstance(row, Event)] == ["notes.csv:1", "notes.csv:7"]


def test_a_quote_that_never_ends_is_a_bad_row() -> None:
    rows = read('customer_id,text\n1,a\n2,"b\n3,c\n')
    assert isinstance(rows[-1], BadRow)
    assert "quoted field does not end" in rows[-1].reason


def test_values_are_typed_nested_and_left_out_where_empty() -> None:
    fields = mapping(
        "customer_id=who",
        "occurred_at=day",
        "data.customer_id=other",
        "amount:decimal=total",
        "quantity:int",
        "address.city=city",
        "trace_id=trace",
        constants=("currency=USD", "address.country=DE", "gift:bool=no"),
    )
    rows = read(
        "who,day,other,total,quantity,city,trace\n1,1997-01-01,x,11.70,2,Ulm,t\n1,1997-01-01,,,,,\n",
        Table(fields),
    )
    assert sent(rows[0]) == {
        "event_id": "notes.csv:1",
        "event_type": "note",
        "customer_id": "1",
        "occurred_at": "1997-01-01T00:00:00Z",
        "trace_id": "t",
        "data": {
            "currency": "USD",
            "gift": False,
            "customer_id": "x",
            "amount": "11.70",
            "quantity": 2,
            "address": {"country": "DE", "city": "Ulm"},
        },
    }
    assert sent(rows[1])["data"] == {"currency": "USD", "gift": False, "address": {"country": "DE"}}
    assert "trace_id" not in sent(rows[1])


def test_a_value_of_another_type_names_its_column() -> None:
    rows = read("customer_id,n\n1,two\n", Table(mapping("customer_id", "quantity:int=n")))
    assert rows == [BadRow(1, "column n: 'two' is not a whole number")]


def test_an_id_column_takes_the_place_of_the_row_number() -> None:
    rows = read("id,customer_id\nA-1,1\n", Table(mapping("event_id=id", "customer_id")))
    assert rows[0].event_id == "A-1"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            mapping("customer_id=who"),
            "there is no column 'who'. The file's columns are: customer_id, text, text",
        ),
        (mapping("customer_id", "body=text"), "there are several columns 'text'"),
        (mapping("body=customer_id"), "no column is mapped to customer_id"),
        (mapping("customer_id", "n:float=customer_id"), "type 'float' is none of"),
        (mapping("customer_id:int"), "takes no type"),
        (mapping("customer_id", constants=("event_id=1",)), "event_id cannot be the same"),
        (mapping("customer_id", "a=customer_id", "a.b=customer_id"), "a is both a value and an object"),
        (mapping("customer_id", constants=("occurred_at=soon",)), "occurred_at: 'soon' is not"),
        (mapping(), "A table needs a mapping"),
    ],
)
def test_a_mapping_that_does_not_fit_is_told_before_the_first_event(
    fields: ColumnMapping, message: str
) -> None:
    rows = read_csv(io.BytesIO(b"customer_id,text,text\n1,a,b\n"), Table(fields), source="x")
    with pytest.raises(MappingError, match=message):
        next(rows)


def test_reading_is_lazy() -> None:
    class Endless(io.RawIOBase):
        served = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            line = b"customer_id,text\n" if not self.served else b"1,a\n"
            buffer[: len(line)] = line
            self.served += len(line)
            return len(line)

    endless = Endless()
    rows = read_csv(io.BufferedReader(endless), Table(SIMPLE), source="x")
    assert len([next(rows) for _ in range(3)]) == 3
    assert endless.served < 20_000


def test_ndjson_lines_are_sent_to_the_letter_and_bad_ones_are_counted() -> None:
    text = (
        b'\xef\xbb\xbf{"event_id":"a", "data":{"amount":1.10}}\r\n\n{"data":{"amount":0.1000000000000000000001}}\n'
        b'{"data":\n[1]\n{"a":"\xff"}\n{"event_id":null,"n":1E2}\n{"event_id":7}'
    )
    rows = list(read_ndjson(io.BytesIO(text), source="x.ndjson"))
    assert rows == [
        Event(1, "a", b'{"event_id":"a", "data":{"amount":1.10}}'),
        Event(2, "x.ndjson:2", b'{"data":{"amount":0.1000000000000000000001},"event_id":"x.ndjson:2"}'),
        BadRow(3, "not valid JSON: Input data was truncated"),
        BadRow(4, "not a JSON object"),
        BadRow(5, "the text is not valid UTF-8"),
        Event(6, "x.ndjson:6", b'{"event_id":"x.ndjson:6","n":1E2}'),
        Event(7, None, b'{"event_id":7}'),
    ]


def test_array_items_go_out_on_one_line() -> None:
    rows = list(
        read_json(io.BytesIO(b'[\n {"a":\r\n 1.50,\n "event_id": "e"},\n {"b": {\n}}\n]'), source="x")
    )
    assert [row.body for row in rows if isinstance(row, Event)] == [
        b'{"a":   1.50,  "event_id": "e"}',
        b'{"b":{ },"event_id":"x:2"}',
    ]


def test_without_a_name_events_must_bring_their_id() -> None:
    rows = read_ndjson(io.BytesIO(b'{"event_id":"a"}\n{}\n'), source=None)
    assert next(rows).row == 1
    with pytest.raises(LoadError, match="--source"):
        next(rows)


def test_a_line_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrastructure.loading.readers.MAX_ITEM_BYTES", 50)
    with pytest.raises(LoadError, match="Line 1 is longer"):
        list(read_ndjson(io.BytesIO(b"x" * 100), source="x"))
