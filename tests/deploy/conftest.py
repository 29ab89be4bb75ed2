"""What the container tests share, made once a run: Podman, a bare machine, the image, the wheel."""

import faulthandler
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.podman import Podman, Unavailable, base, build, installed, own_base, podman
from tests.test_install import build as build_distributions
from tests.test_install import source_copy


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """Podman, with nothing in it. Filling it may take longer than the suite's last resort against
    tests that hang allows; the tests' own time limit counts."""
    faulthandler.cancel_dump_traceback_later()
    try:
        with podman(tmp_path_factory.mktemp("podman")) as instance:
            yield instance
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def run(empty: Podman) -> Podman:
    """Podman with the program's image."""
    try:
        build(empty, base(empty))
    except Unavailable as reason:
        pytest.skip(str(reason))
    return empty


@pytest.fixture(scope="session")
def debian(empty: Podman) -> str:
    """The name of an image that has systemd and a Podman with quadlets."""
    try:
        return own_base(empty)
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the checkout, for anybody to read."""
    folder = tmp_path_factory.mktemp("dist")
    build_distributions(source_copy(tmp_path_factory.mktemp("source")), folder)
    folder.chmod(0o755)
    [found] = folder.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def opt(empty: Podman, debian: str, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine's ``/opt``, with the program in ``/opt/mcproxy``."""
    folder = tmp_path_factory.mktemp("opt")
    folder.chmod(0o755)
    installed(empty, debian, wheel, f"{folder}:/opt")
    return folder
