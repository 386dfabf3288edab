"""Backups for age keys: whoever takes them cannot read them, and nobody changes them unnoticed."""

import hashlib
from pathlib import Path

import pyrage
import pytest
from backing_up import Site, failed_with, flip_a_bit, unchanged
from people import MARK, event


@pytest.fixture
def identity(tmp_path: Path) -> pyrage.x25519.Identity:
    made = pyrage.x25519.Identity.generate()
    (tmp_path / "key").write_text(f"# as age-keygen writes it\n{made}\n")
    return made


def _backup(site: Site, identity: pyrage.x25519.Identity) -> str:
    site.people.send(event("a"))
    made = site.backup(SSPP_BACKUP_AGE_RECIPIENTS=str(identity.to_public()))
    assert made["encryption"] == "age"
    return str(made["name"])


def test_an_encrypted_backup_restores_with_the_key(
    site: Site, identity: pyrage.x25519.Identity, tmp_path: Path
) -> None:
    name = _backup(site, identity)
    stored = site.stored()
    content = (site.store / f"{name}.dump.age").read_bytes()
    assert content.startswith(b"age-encryption.org/v1\n")
    assert MARK.encode() not in content
    assert b"PGDMP" not in content
    site.destroy()
    done = site.restore(SSPP_BACKUP_AGE_IDENTITY_FILE=str(tmp_path / "key"))
    assert done.exit_code == 0, done.output
    assert site.stored() == stored


@pytest.mark.parametrize("key", [None, "another"])
def test_without_the_key_nothing_is_changed(
    site: Site, identity: pyrage.x25519.Identity, tmp_path: Path, key: str | None
) -> None:
    _backup(site, identity)
    environment = {}
    if key:
        (tmp_path / key).write_text(str(pyrage.x25519.Identity.generate()))
        environment["SSPP_BACKUP_AGE_IDENTITY_FILE"] = str(tmp_path / key)
    with unchanged(site):
        done = site.restore("--overwrite", **environment)
    assert failed_with(done) == "backup_not_decrypted"


def test_a_check_without_the_key_says_that_nothing_was_opened(
    site: Site, identity: pyrage.x25519.Identity
) -> None:
    _backup(site, identity)
    done = site.run("restore", "--check", "--quiet")
    assert done.exit_code == 0, done.output
    assert "NOT OPENED" in done.stdout
    assert "SSPP_BACKUP_AGE_IDENTITY_FILE" in done.stdout


def test_a_check_with_a_key_opens_it_or_says_that_the_key_does_not_fit(
    site: Site, identity: pyrage.x25519.Identity, tmp_path: Path
) -> None:
    name = _backup(site, identity)
    done = site.run("restore", "--check", SSPP_BACKUP_AGE_IDENTITY_FILE=str(tmp_path / "key"))
    assert done.exit_code == 0, done.output
    assert "NOT OPENED" not in done.stdout
    (tmp_path / "another").write_text(str(pyrage.x25519.Identity.generate()))
    other = site.run("restore", "--check", SSPP_BACKUP_AGE_IDENTITY_FILE=str(tmp_path / "another"))
    assert failed_with(other) == "backup_not_decrypted"
    dump = site.store / f"{name}.dump.age"
    flip_a_bit(dump)
    site.rewrite(name, sha256=hashlib.sha256(dump.read_bytes()).hexdigest())
    hidden = site.run("restore", "--check", SSPP_BACKUP_AGE_IDENTITY_FILE=str(tmp_path / "key"))
    assert failed_with(hidden) == "backup_corrupted"


def test_a_change_that_the_manifest_was_made_to_hide_is_found_by_the_encryption(
    site: Site, identity: pyrage.x25519.Identity, tmp_path: Path
) -> None:
    name = _backup(site, identity)
    dump = site.store / f"{name}.dump.age"
    flip_a_bit(dump)
    site.rewrite(name, sha256=hashlib.sha256(dump.read_bytes()).hexdigest())
    with unchanged(site):
        done = site.restore("--overwrite", SSPP_BACKUP_AGE_IDENTITY_FILE=str(tmp_path / "key"))
    assert failed_with(done) == "backup_corrupted"
