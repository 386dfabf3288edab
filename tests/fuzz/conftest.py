"""The platform that is fuzzed; and the modules of ``fuzzing`` can be imported."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fuzzing.platform import Platform, running_platform


@pytest.fixture(scope="session")
def fuzzed_platform() -> Iterator[Platform]:
    # Most of what is sent deserves to be refused: that is no reason to suspect the code.
    with running_platform(SSPP_MAX_REFUSED_SHARE="1") as platform:
        yield platform
