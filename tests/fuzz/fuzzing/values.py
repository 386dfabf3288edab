"""Pieces of JSON that break things: texts of numbers, strings, instants and structures."""

from random import Random

from fuzzing.draft import dumps

NOT_UTF8 = (b"\xff", b"\xfe\xff", b"\x80", b"\xc0\x80", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
            b"\xf0\x80\x80\xaf", b"\xf8\x88\x80\x80\x80")  # fmt: skip

LONE_SURROGATES = (b"\\ud800", b"\\udfff", b"\\uDBFF", b"\\udc00\\ud800", b"\\ud83d\\u0041", b"\\ud83dx",
                   b"\\ud800\\ud800")  # fmt: skip

NOT_JSON = (
    b"NaN", b"Infinity", b"-Infinity", b"nan", b"+1", b"01", b"-01", b".5", b"1.", b"1e", b"1e+", b"-", b"0x10",
    b"1_000", b"True", b"nul", b"undefined", b"'x'", b"`x`", b"{1:2}", b"{a:1}", b'{"a":1,}', b"[1,]", b"[,1]",
    b"{,}", b'{"a"}', b'{"a":}', b'{"a" 1}', b"[1 2]", b"/* x */1", b"1 // x", b'"\\x"', b'"\\u12"', b'"\\u00zz"',
    b'"\\', b'"a', b'"\t"', b'"\x01"', b'"\x00"', b'"\x1f"', b"\x00", b"\x0b1", b"\xc2\xa01", b"]", b"}", b"",
)  # fmt: skip

ODD_TEXTS = (
    "", " ", "\t\n\r", "null", "true", "0", "-1", "\x7f", "\x80\x9f", "é", "e\u0301", "\u202e\u202d", "\ufeff",
    "\ufffd", "\ufffe\uffff", "\U0010ffff", "\U0001f600", "👨‍👩‍👧‍👦", "\u2028\u2029", "\ue000", "ﷺ" * 9, "ß", "İ",
    "Z" + "\u0301" * 50, "' OR 1=1 --", "<script>alert(1)</script>", "{{7*7}}", "${x}", "../../etc", "%00%ff", "a/b~c",
    '"', "\\", "\\u0000", "\\\\u0000", "\r\nX: y", "A" * 1000, "\x01\x02\x1f", "*", "a:b", "(", '"unclosed', "AND OR",
)  # fmt: skip

GOOD_INSTANTS = (
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "1582-10-10T00:00:00Z", "1900-02-28T23:59:59Z",
    "2000-02-29T12:00:00Z", "2016-12-31T23:59:60Z", "1990-12-31T15:59:60-08:00", "2026-01-01T00:00:00+23:59",
    "2026-01-01T00:00:00-23:59", "2026-01-01T00:00:00-00:00", "2026-01-01t00:00:00z", "2026-01-01 00:00:00Z",
    "2026-01-01T00:00:00.0Z", "2026-01-01T00:00:00.123456789012345678Z", "2026-01-01T00:00:60.999Z",
    "0001-01-01T23:59:00+23:59", "9999-12-31T00:00:00-23:59", "1969-12-31T23:59:59.999999Z", "2038-01-19T03:14:08Z",
)  # fmt: skip

BAD_INSTANTS = (
    "", " ", "0", "now", "yesterday", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "-001-01-01T00:00:00Z",
    "+2026-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-02-30T00:00:00Z",
    "1900-02-29T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T23:60:00Z", "2026-01-01T23:59:61Z",
    "2026-01-01T00:00:00", "2026-01-01", "2026-01-01T00:00Z", "20260101T000000Z", "2026-W01-1T00:00:00Z",
    "2026-001T00:00:00Z", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+0100", "2026-01-01T00:00:00+01",
    "2026-01-01T00:00:00 UTC", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00,5Z", "2026-1-1T0:0:0Z",
    "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "9999-12-31T23:59:60Z", "2026-01-01T00:00:00Z ",
    "\u0662\u0660\u0662\u0666-01-01T00:00:00Z", "2026-01-01T00:00:00Z\n", "2026\u201101\u201101T00:00:00Z", "1e9",
    "infinity", "epoch", "294277-01-01T00:00:00Z", "2026-01-01T00:00:00+99:99", "Z", "T", "9" * 1000,
)  # fmt: skip

KINDS = (
    b"null", b"true", b"false", b"0", b"-1", b"1.5", b"1e3", b'""', b'"x"', b"[]", b"{}", b"[1]", b'["x"]', b'{"a":1}',
    b"[[]]", b'" "', b"9007199254740993", b"-0", b'"1"', b'"true"', b"[null]", b'{"":null}',
)  # fmt: skip


def number(random: Random) -> bytes:
    """A JSON number: small, long, with an odd exponent, a negative zero."""
    digits = random.choice((1, 2, 15, 16, 17, 18, 19, 20, 38, 39, 99, 100, 101, 400, 4301, 20000))
    whole = random.choice(("0", "9" * digits, "1" + "0" * (digits - 1), str(random.getrandbits(64))))
    fraction = random.choice(("", "", ".0", "." + "0" * 40 + "1", "." + "9" * digits, ".10"))
    exponents = (
        0,
        1,
        7,
        15,
        45,
        99,
        100,
        280,
        307,
        308,
        309,
        310,
        323,
        324,
        400,
        999,
        5000,
        16383,
        16384,
        131072,
    )
    power = random.choice((*exponents, 10**9, 10**20))
    signs = ("e", "E", "e+", "e-", "E-", "E+", "e+000", "E-0000000")
    exponent = random.choice(("", "", f"{random.choice(signs)}{power}"))
    return f"{random.choice(('', '-'))}{whole}{fraction}{exponent}".encode()


def text(random: Random) -> str:
    """A string of characters that JSON and PostgreSQL can hold: all planes, no surrogates, no U+0000."""
    if random.random() < 0.5:
        return random.choice(ODD_TEXTS)
    planes = ((1, 0x7F), (0x80, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF))
    return "".join(
        chr(random.randint(*random.choice(planes))) for _ in range(random.choice((1, 2, 5, 20, 100)))
    )


def escaped(random: Random, characters: str) -> bytes:
    """`characters` as a JSON string, each character escaped in one of the ways that there are."""
    pieces = []
    for character in characters:
        plain = character not in '"\\' and character >= " "
        if plain and random.random() < 0.5:
            pieces.append(character.encode())
        elif character == "/" and random.random() < 0.5:
            pieces.append(b"\\/")
        else:
            units = character.encode("utf-16-be")
            hexadecimal = [units[at : at + 2].hex() for at in range(0, len(units), 2)]
            pieces += [f"\\u{random.choice((each, each.upper()))}".encode() for each in hexadecimal]
    return b'"' + b"".join(pieces) + b'"'


def nested(random: Random, depth: int) -> bytes:
    """`depth` levels of arrays and objects around a number."""
    kinds = [random.random() < 0.5 for _ in range(depth)]
    opening = b"".join(b"[" if array else b'{"k":' for array in kinds)
    return opening + b"1" + b"".join(b"]" if array else b"}" for array in reversed(kinds))


def value(random: Random, depth: int = 3) -> bytes:
    """Any JSON value that can be stored, of modest size."""
    kind = random.randrange(7 if depth else 5)
    if kind == 0:
        return random.choice(KINDS)
    if kind == 1:
        return str(
            random.choice((random.randint(-10, 10), random.getrandbits(70), random.random() * 1e6))
        ).encode()
    if kind in (2, 3):
        return escaped(random, text(random))
    if kind == 4:
        return dumps(text(random))
    items = [value(random, depth - 1) for _ in range(random.randrange(5))]
    if kind == 5:
        return b"[" + b", ".join(items) + b"]"
    return b"{" + b",".join(escaped(random, text(random)) + b" :\t" + item for item in items) + b"}"
