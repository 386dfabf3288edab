"""The lines of archives: packed as they are read, unpacked and compared with what was written."""

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from infrastructure.archive.errors import DamagedArchiveError, NoArchiveError
from infrastructure.archive.manifest import Content
from infrastructure.safekeeping.errors import StoreError
from infrastructure.safekeeping.stores import Store

_BUFFER_BYTES = 1024 * 1024
_REPORTED_LINES = 5_000


def pack(
    pieces: Iterable[bytes | bytearray | memoryview],
    file: Path,
    advance: Callable[[float], object] = lambda _: None,
) -> Content:
    """Write what `pieces` hold together, lines that each end with a line feed, into `file`; in constant memory.

    Raises:
        StoreError: the disk is full.
    """
    count, plain, pending = 0, hashlib.sha256(), bytearray()
    try:
        with file.open("wb") as target:
            file.chmod(0o600)
            # No name and no time in it: what was the same before is the same packed.
            with gzip.GzipFile("", "wb", fileobj=target, mtime=0) as packed:

                def write() -> int:
                    packed.write(pending)
                    plain.update(pending)
                    lines = pending.count(b"\n")
                    advance(lines)
                    pending.clear()
                    return lines

                for piece in pieces:
                    pending += piece
                    if len(pending) >= _BUFFER_BYTES:
                        count += write()
                count += write()
        size, sha256 = _measure(file)
    except OSError as error:
        raise StoreError(f"{file.parent} does not take the archive: {error.strerror or error}") from error
    return Content(file.name, size, sha256, count, plain.hexdigest())


def unpack(store: Store, content: Content) -> Iterator[bytes]:
    """The lines that are kept, each with its line feed, once the object was compared with `content`.

    Raises:
        NoArchiveError: the object is missing.
        DamagedArchiveError: it is not what was written; at the end, too, where that only shows then.
    """
    with store.staging() as staging:
        file = store.fetch(content.name, staging)
        if file is None:
            raise NoArchiveError(f"{content.name} is missing; its manifest alone holds no rows")
        if _measure(file) != (content.size, content.sha256):
            raise DamagedArchiveError(
                f"{content.name} is not what was written: it was cut off or changed, or is another file"
            )
        count, plain = 0, hashlib.sha256()
        try:
            with gzip.open(file) as lines:
                for line in lines:
                    plain.update(line)
                    count += 1
                    yield line
        except (OSError, EOFError, zlib.error) as error:
            raise DamagedArchiveError(f"{content.name} cannot be unpacked: {error}") from error
        if (count, plain.hexdigest()) != (content.lines, content.lines_sha256):
            raise DamagedArchiveError(f"{content.name} holds other lines than were written")


def check(store: Store, content: Content, advance: Callable[[float], object] = lambda _: None) -> None:
    """Read an object back to its end.

    Raises:
        NoArchiveError, DamagedArchiveError: it is missing, or not what was written.
    """
    count = 0
    for count, _ in enumerate(unpack(store, content), start=1):
        if count % _REPORTED_LINES == 0:
            advance(_REPORTED_LINES)
    advance(count % _REPORTED_LINES)


def _measure(file: Path) -> tuple[int, str]:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256")
        return content.tell(), digest.hexdigest()
