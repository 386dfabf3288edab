"""Backups in a bucket of an S3-compatible server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from backing_up import Site, failed_with
from bucket_server import ACCESS_KEY, REGION, BucketServer, serving
from people import event

from common.errors import SettingsError
from infrastructure.safekeeping.buckets import BucketStore
from infrastructure.safekeeping.errors import StoreError
from infrastructure.safekeeping.settings import BackupSettings


@pytest.fixture
def server() -> Iterator[BucketServer]:
    with serving() as server:
        yield server


def _environment(url: str) -> dict[str, str]:
    return {
        "SSPP_BACKUP_URL": "s3://backups/of/site",
        "SSPP_BACKUP_S3_ENDPOINT": url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": "a secret",
    }


def _store(url: str) -> BucketStore:
    return BucketStore(BackupSettings(**_environment(url)), "backups", "a b/$", part_bytes=1000)


def test_a_site_is_backed_up_into_a_bucket_and_restored_from_it(site: Site, server: BucketServer) -> None:
    site.people.send(event("a"))
    stored = site.stored()
    name = site.backup(**_environment(server.url))["name"]
    assert {f"of/site/{name}.dump", f"of/site/{name}.json"} <= server.objects.keys()
    site.destroy()
    done = site.restore(**_environment(server.url))
    assert done.exit_code == 0, done.output
    assert site.stored() == stored


def test_a_dump_that_was_cut_off_in_the_bucket_is_found_out(site: Site, server: BucketServer) -> None:
    name = site.backup(**_environment(server.url))["name"]
    server.objects[f"of/site/{name}.dump"] = server.objects[f"of/site/{name}.dump"][:-1]
    done = site.restore("--overwrite", **_environment(server.url))
    assert failed_with(done) == "backup_truncated"


def test_a_bucket_that_lets_nobody_in_is_told_as_such(site: Site, server: BucketServer) -> None:
    done = site.run("backup", "--quiet", **_environment(server.url) | {"AWS_ACCESS_KEY_ID": "WRONG"})
    assert done.exit_code == 1
    assert "InvalidAccessKeyId" in done.stderr
    assert "a secret" not in done.output


def test_large_objects_go_in_parts_and_come_back_whole(server: BucketServer, tmp_path: Path) -> None:
    store, content = _store(server.url), bytes(range(256)) * 10
    (tmp_path / "file").write_bytes(content)
    store.put("large", tmp_path / "file")
    assert server.objects == {"a b/$/large": content}
    assert sum("partNumber" in path for _, path in server.asked) == 3
    fetched = store.fetch("large", tmp_path)
    assert fetched is not None
    assert fetched.read_bytes() == content


def test_an_upload_that_fails_leaves_nothing(server: BucketServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(2500))
    server.refused_part = 2
    with pytest.raises(StoreError, match="400"):
        _store(server.url).put("large", tmp_path / "file")
    assert server.objects == server.uploads == {}


def test_a_server_that_is_busy_is_asked_again(server: BucketServer, tmp_path: Path) -> None:
    store = _store(server.url)
    server.faults = [503, 500]
    store.write("small", b"content")
    server.faults = [503]
    assert store.read("small") == b"content"
    server.faults = [503]
    fetched = store.fetch("small", tmp_path)
    assert fetched is not None
    assert fetched.read_bytes() == b"content"


def test_lists_of_many_pages_are_read_to_their_end(server: BucketServer) -> None:
    server.page = 2
    store = _store(server.url)
    names = [f"object-{number}" for number in range(5)]
    for name in names:
        store.write(name, b"")
    server.objects["elsewhere"] = b""
    assert store.names() == names


def test_what_is_not_there_is_none_and_can_be_deleted(server: BucketServer, tmp_path: Path) -> None:
    store = _store(server.url)
    assert store.read("nothing") is None
    assert store.fetch("nothing", tmp_path) is None
    store.write("something", b"")
    store.delete("something")
    store.delete("something")
    assert store.names() == []


def test_a_bucket_that_is_not_there_is_told_as_such(server: BucketServer) -> None:
    store = BucketStore(BackupSettings(**_environment(server.url)), "elsewhere", "")
    with pytest.raises(StoreError, match="NoSuchBucket"):
        store.names()


def test_a_server_that_is_away_is_told_as_such(unserved_port: int) -> None:
    with pytest.raises(StoreError, match=f"127.0.0.1:{unserved_port}"):
        _store(f"http://127.0.0.1:{unserved_port}").read("anything")


@pytest.mark.parametrize("half", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_half_of_a_key_is_refused(half: str) -> None:
    with pytest.raises(SettingsError, match="together"):
        BucketStore(BackupSettings(**_environment("https://s3.example.com") | {half: ""}), "backups", "")


def test_a_server_that_is_no_url_is_refused() -> None:
    with pytest.raises(SettingsError, match="SSPP_BACKUP_S3_ENDPOINT"):
        _store("s3.example.com")
