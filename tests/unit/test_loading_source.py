import gzip
import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from infrastructure.loading.errors import LoadError
from infrastructure.loading.source import Format, open_source, reading

CSV = b"a,b\n1,2\n"


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize(
    ("name", "content", "format_"),
    [
        ("x.csv", CSV, Format.CSV),
        ("x.txt", CSV, Format.CSV),
        ("x.tsv", b"a\tb\n", Format.CSV),
        ("x", b' \n[{"a":1}]', Format.JSON),
        ("x.csv", b"[{}]", Format.JSON),
        ("x", b'{"a":1}\n', Format.NDJSON),
        ("x.jsonl", b'\xef\xbb\xbf{"a":1}\n', Format.NDJSON),
        ("x.json", b'{\n"a":1}\n', Format.JSON),
        ("x.ndjson", b"not json\n", Format.NDJSON),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_format_and_compression_are_recognised(
    tmp_path: Path, name: str, content: bytes, format_: Format, packed: bool
) -> None:
    stored = gzip.compress(content) if packed else content
    with open_source(write(tmp_path / (name + ".gz" * packed), stored)) as source:
        assert (source.format, source.name, source.size) == (format_, name, len(stored))
        assert source.stream.read() == content
        assert source.position == len(stored)


def test_content_decides_on_compression_and_the_caller_on_the_format(tmp_path: Path) -> None:
    with open_source(write(tmp_path / "x.csv", gzip.compress(CSV)), format_=Format.NDJSON) as source:
        assert source.stream.read() == CSV
        assert source.format is Format.NDJSON


def test_standard_input_is_read_without_a_name_or_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(gzip.compress(CSV))))
    with open_source("-") as source:
        assert (source.name, source.size, source.stream.read()) == (None, None, CSV)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"PK\x03\x04", "zip archive"),
    ],
)
def test_what_holds_no_events_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(LoadError, match=message), open_source(write(tmp_path / "x", content)):
        pass


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="No such file"), open_source(str(tmp_path / "none.csv")):
        pass


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_damaged_gzip_is_told(tmp_path: Path, damage: str) -> None:
    packed = gzip.compress(b"".join(b"%d,%d\n" % (n, n * n) for n in range(5000)))
    half = len(packed) // 2
    content = packed[:half] if damage == "cut" else packed[:half] + b"\xff" * 64 + packed[half + 64 :]
    with (
        open_source(write(tmp_path / "x.csv.gz", content)) as source,
        pytest.raises(LoadError),
        reading("x.csv.gz"),
    ):
        source.stream.read()
