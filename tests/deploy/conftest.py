"""The image that the container tests share: built once a run."""

import faulthandler
from collections.abc import Iterator

import pytest

from tests.deploy.podman import Podman, Unavailable, base, build, own_base, podman


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """Podman with the program's image. Making it may take longer than the suite's last resort
    against tests that hang allows; the tests' own time limit counts."""
    faulthandler.cancel_dump_traceback_later()
    try:
        with podman(tmp_path_factory.mktemp("podman")) as instance:
            build(instance, base(instance))
            yield instance
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def debian(run: Podman) -> str:
    """The name of an image that has systemd and a Podman with quadlets."""
    try:
        return own_base(run)
    except Unavailable as reason:
        pytest.skip(str(reason))
