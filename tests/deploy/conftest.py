"""The image that the container tests share: built once a run."""

from collections.abc import Iterator

import pytest

from tests.deploy.podman import Podman, Unavailable, base, build, own_base, podman


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """Podman with the program's image."""
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
