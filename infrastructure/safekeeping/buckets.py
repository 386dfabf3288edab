"""Backups as objects of a bucket, on an S3-compatible server."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from common.errors import SettingsError
from infrastructure.safekeeping.errors import StoreError
from infrastructure.safekeeping.settings import BackupSettings

# S3 takes up to 10,000 parts of an object, so 640 GB at this size; and so much is held in memory for each that is
# under way.
PART_BYTES = 64 * 1024 * 1024
_PARTS_AT_ONCE = 2
_CHUNK_BYTES = 1024 * 1024
_RETRIES = 4
_RETRY_FOR = timedelta(minutes=2)
_TIMEOUT = timedelta(minutes=2)


class BucketStore:
    """Objects of a bucket, below a prefix: see `infrastructure.safekeeping.stores.Store`.

    Each request names the SHA-256 of its body, which the server compares. A large object goes in parts, and is there
    at once when all are. What fails for a reason that may pass is tried again, with growing pauses.

    Args:
        settings: the server, its region, and who signs. Without keys they are asked for where a role gives them: the
            web identity of a Kubernetes service account, a container's or a machine's role.
        bucket: its name.
        prefix: before each name, without slashes around it.
        part_bytes: more than that is sent in parts.

    Raises:
        SettingsError: no bucket is named, one of the two keys is missing, or the server is no URL.
    """

    def __init__(
        self, settings: BackupSettings, bucket: str, prefix: str, *, part_bytes: int = PART_BYTES
    ) -> None:
        self._bucket = open_bucket(settings, bucket, prefix)
        self._part_bytes = part_bytes

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """See `Store`. In the folder for temporary files (TMPDIR), which has to hold a whole dump."""
        with tempfile.TemporaryDirectory(prefix="sspp-backup-") as folder:
            yield Path(folder)

    def put(self, name: str, file: Path) -> None:
        """See `Store`."""
        with _translated():
            obstore.put(self._bucket, name, file, chunk_size=self._part_bytes, max_concurrency=_PARTS_AT_ONCE)

    def write(self, name: str, content: bytes) -> None:
        """See `Store`."""
        with _translated():
            obstore.put(self._bucket, name, content, use_multipart=False)

    def fetch(self, name: str, staging: Path) -> Path | None:
        """See `Store`."""
        file = staging / name
        with _translated():
            try:
                found = obstore.get(self._bucket, name)
            except FileNotFoundError:
                return None
            with file.open("wb") as kept:
                for chunk in found.stream(min_chunk_size=_CHUNK_BYTES):
                    kept.write(chunk)
        return file

    def read(self, name: str) -> bytes | None:
        """See `Store`."""
        with _translated():
            try:
                return obstore.get(self._bucket, name).bytes().to_bytes()
            except FileNotFoundError:
                return None

    def names(self) -> list[str]:
        """See `Store`."""
        with _translated():
            return sorted(each["path"] for page in obstore.list(self._bucket) for each in page)

    def delete(self, name: str) -> None:
        """See `Store`."""
        with _translated():
            obstore.delete(self._bucket, name)


def open_bucket(settings: BackupSettings, bucket: str, prefix: str) -> S3Store:
    """The bucket of this name on the server of the settings; see `BucketStore`."""
    secret = settings.s3_secret_key.get_secret_value()
    if not bucket or bool(settings.s3_access_key) != bool(secret):
        raise SettingsError(
            "s3://bucket needs a bucket's name, and AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY together (or neither,"
            " where a role gives them)"
        )
    parts = urlsplit(settings.s3_endpoint)
    if settings.s3_endpoint and (
        parts.scheme not in {"http", "https"} or not parts.netloc or "@" in parts.netloc
    ):
        raise SettingsError("SSPP_BACKUP_S3_ENDPOINT is no URL of a server, such as https://s3.example.com")
    chosen: dict[str, Any] = {
        "endpoint": settings.s3_endpoint.rstrip("/"),
        "access_key_id": settings.s3_access_key,
        "secret_access_key": secret,
        "session_token": settings.s3_session_token.get_secret_value(),
    }
    return S3Store(
        bucket,
        prefix=prefix or None,
        region=settings.s3_region,
        # The call that deletes many at once is what compatible servers lack most often.
        disable_bulk_delete=True,
        client_options={"allow_http": parts.scheme == "http", "timeout": _TIMEOUT},
        retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_FOR},
        **{name: value for name, value in chosen.items() if value},
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        # What follows the first paragraph is for those who mend the library.
        raise StoreError(f"the bucket: {str(error).split(chr(10) * 2)[0]}") from error
    except OSError as error:
        raise StoreError(f"{error.filename}: {error.strerror or error}") from error
