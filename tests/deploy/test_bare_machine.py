"""A newcomer on a machine that has nothing but Python: one line installs, then the first commands.

The machine is a container of Debian's; the wheel is that of the checkout, all else comes from the
index of packages.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.podman import LIMITS, Podman, Unavailable, certificates, own_base, podman, trust
from tests.test_install import build, source_copy

pytestmark = [pytest.mark.container, pytest.mark.timeout(1500)]

INSTALL_SECS = 400
FIRST_SEARCH_SECS = 60
SECRET = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """Podman with the bare machine's image."""
    try:
        with podman(tmp_path_factory.mktemp("podman")) as instance:
            own_base(instance)
            yield instance
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the checkout, for anybody to read."""
    folder = tmp_path_factory.mktemp("dist")
    build(source_copy(tmp_path_factory.mktemp("source")), folder)
    folder.chmod(0o755)
    [found] = folder.glob("*.whl")
    return found


@pytest.mark.requirement("install.bare_machine")
@pytest.mark.parametrize("user", [0, 1000], ids=["root", "ordinary"])
def test_from_nothing_to_the_first_search_and_back(
    machine: Podman, wheel: Path, tmp_path: Path, user: int
) -> None:
    home = tmp_path / "home"
    theirs = home / ".cursor/mcp.json"
    theirs.parent.mkdir(parents=True)
    server = {
        "command": "/home/ada/mcproxy/bin/python",
        "args": ["-P", "-m", "mcproxy.demo.calc"],
        "env": {"GITHUB_TOKEN": SECRET},
    }
    before = f'{{\n\t"mcpServers": {{"mine": {json.dumps(server)}}}\n}}'.encode()
    theirs.write_bytes(before)
    for path in (home, *home.rglob("*")):
        os.chown(path, user, user)
    variables = [
        f"--env={name}={value}" for name, value in {**trust(), "HOME": "/home/ada"}.items()
    ]
    if certificates():
        variables.append("--env=PIP_CERT=/certificates.pem")
    mounts = ("--volume", f"{home}:/home/ada", "--volume", f"{wheel.parent}:/dist:ro")
    started = machine(
        *("run", "--detach", "--network", "host", *LIMITS, *certificates(), *mounts, *variables),
        *("--user", str(user), "--workdir", "/home/ada", own_base(machine), "sleep", "infinity"),
    )
    name = started.stdout.strip().splitlines()[-1]

    def typed(line: str, secs: float) -> subprocess.CompletedProcess[str]:
        return machine("exec", name, "sh", "-c", line, secs=secs)

    try:
        typed(
            f"python3 -m venv mcproxy && mcproxy/bin/pip install /dist/{wheel.name}", INSTALL_SECS
        )
        told = typed("mcproxy/bin/mcproxy connect cursor", FIRST_SEARCH_SECS).stdout
        assert SECRET not in told
        assert "mcproxy/bin/mcproxy" in theirs.read_text()
        found = typed("mcproxy/bin/mcproxy search convert units", FIRST_SEARCH_SECS).stdout
        assert "mine" in found
        assert "convert_units" in found
        assert "all good" in typed("mcproxy/bin/mcproxy doctor", FIRST_SEARCH_SECS).stdout
        typed("mcproxy/bin/mcproxy connect cursor --undo", FIRST_SEARCH_SECS)
    finally:
        machine("rm", "--force", name)
    assert theirs.read_bytes() == before
    assert theirs.stat().st_uid == user
    assert not (home / "config/mcp-servers.json").exists()
    assert not (home / "config/.env").exists()
