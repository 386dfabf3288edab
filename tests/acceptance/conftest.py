"""One running platform for the whole tier, seen only from outside: HTTP, the command line, its servers.

``sspp up`` is started once for all test processes, on embedded servers and whatever the environment names: it is
what is under test. The tests here may not import our packages.
"""

import fcntl
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from black_box import Platform, Tenant, purchase
from starting import Starter, locked, read_environment, shared


@pytest.fixture(scope="session")
def running_platform(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Platform]:
    """The platform, started by whichever test process asks first and stopped by it when no other uses it."""
    base = tmp_path_factory.getbasetemp()
    with (
        shared(base if worker_id == "master" else base.parent) as folder,
        closing(Platform(folder, read_environment(folder / "env"))) as platform,
    ):
        yield platform


@pytest.fixture
def own_platform() -> Iterator[Platform]:
    """A platform that no other test uses, for what concerns the data of all tenants."""
    starter = Starter()
    with closing(Platform(starter.folder, read_environment(starter.folder / "env"))) as platform:
        yield platform
    starter.stop()


@pytest.fixture
def platform(running_platform: Platform) -> Iterator[Platform]:
    """The platform, with all of its processes alone."""
    with quiet(running_platform):
        yield running_platform


@pytest.fixture
def disrupted_platform(running_platform: Platform) -> Iterator[Platform]:
    """The platform, for a test that kills or stops its processes: no other test runs meanwhile."""
    with locked(running_platform.folder / "quiet", fcntl.LOCK_EX):
        yield running_platform


@pytest.fixture(scope="session")
def tenant(running_platform: Platform) -> Iterator[Tenant]:
    """A tenant of this test process; tests keep apart by the ids that they use."""
    with quiet(running_platform):
        made = running_platform.new_tenant()
    with made.api:
        yield made


@pytest.fixture(scope="session")
def new_purchase() -> Callable[..., dict[str, Any]]:
    """Makes purchases; see `purchase`."""
    return purchase


def quiet(platform: Platform) -> AbstractContextManager[None]:
    """A context in which no test kills or stops processes of the platform."""
    return locked(platform.folder / "quiet", fcntl.LOCK_SH)
