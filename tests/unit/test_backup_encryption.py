import io
from pathlib import Path

import pyrage
import pytest

from common.errors import SettingsError
from infrastructure.backup.encryption import decrypt, encrypt
from infrastructure.safekeeping.errors import BackupError, CorruptedBackupError

IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENTS = [str(IDENTITY.to_public())]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_text(f"# created: today\n\n{IDENTITY}\n")
    return file


def encrypted(content: bytes) -> bytes:
    target = io.BytesIO()
    encrypt(io.BytesIO(content), target, RECIPIENTS)
    return target.getvalue()


@pytest.mark.parametrize("size", [0, 1, 65_536, 200_001])
def test_what_was_encrypted_comes_back(size: int, key: Path, tmp_path: Path) -> None:
    content = bytes(size)
    (tmp_path / "dump.age").write_bytes(encrypted(content))
    decrypt(tmp_path / "dump.age", tmp_path / "dump", key)
    assert (tmp_path / "dump").read_bytes() == content


@pytest.mark.parametrize("length", [0, 10, 100_000, 200_000])
def test_what_was_cut_off_does_not_come_back(length: int, key: Path, tmp_path: Path) -> None:
    (tmp_path / "dump.age").write_bytes(encrypted(bytes(200_001))[:length])
    with pytest.raises(CorruptedBackupError):
        decrypt(tmp_path / "dump.age", tmp_path / "dump", key)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("size", [1, 100_000])
def test_a_full_disk_is_a_failure_at_the_last_bytes_too(size: int, key: Path, tmp_path: Path) -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(BackupError):  # noqa: PTH123 - unbuffered
        encrypt(io.BytesIO(bytes(size)), full, RECIPIENTS)


@pytest.mark.parametrize(
    "recipient", ["age1nonsense", "", str(IDENTITY)], ids=["nonsense", "nothing", "a secret key"]
)
def test_what_is_no_public_key_is_refused(recipient: str) -> None:
    with pytest.raises(SettingsError, match="SSPP_BACKUP_AGE_RECIPIENTS"):
        encrypt(io.BytesIO(b""), io.BytesIO(), [recipient])


def test_a_file_without_a_secret_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(RECIPIENTS[0])
    with pytest.raises(SettingsError, match="AGE-SECRET-KEY"):
        decrypt(tmp_path / "key", tmp_path / "dump", tmp_path / "key")
