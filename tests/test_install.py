"""The distributions, built and installed as users do, and what a checkout offers instead."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mcproxy
from tests.e2e.gateways import ROOT, program

UV = Path(sys.executable).with_name("uv")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PIPX = "pipx==1.18.4"
COMMANDS = ("mcproxy", "mcproxy-gateway")
BUILD_SECS = 100


def uv(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [UV, *arguments], capture_output=True, text=True, timeout=BUILD_SECS, check=False
    )


def source_copy(folder: Path) -> Path:
    """The checkout's files without its history; a build writes into its source."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        cwd=ROOT,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a checkout of git")
    for name in listed.stdout.decode().split("\0")[:-1]:
        if not name.startswith(("tests/", "bench/")) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def build(source: Path, folder: Path, *only: str) -> None:
    """Build both distributions into a folder, or one of them."""
    if not UV.exists():
        pytest.skip("no uv")
    built = uv("build", "--quiet", *only, "--out-dir", folder, source)
    if "Failed to fetch" in built.stderr:
        pytest.skip("no registry of packages to build with")
    assert built.returncode == 0, built.stderr


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    build(source_copy(tmp_path_factory.mktemp("source")), folder)
    return folder


@pytest.fixture(scope="module")
def installed(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands' folder of an empty environment into which the wheel was installed."""
    folder = tmp_path_factory.mktemp("fresh")
    [wheel] = distributions.glob("*.whl")
    assert uv("venv", "--quiet", "--python", sys.executable, folder / "venv").returncode == 0
    done = uv("pip", "install", "--quiet", "--python", folder / "venv/bin/python", wheel)
    assert done.returncode == 0, done.stderr
    return folder / "venv/bin"


@pytest.mark.requirement("install.wheel")
def test_the_distributions_hold_what_is_needed(distributions: Path) -> None:
    [wheel], [source] = distributions.glob("*.whl"), distributions.glob("*.tar.gz")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"mcproxy/py.typed", "mcproxy/demo/calc.py", "mcproxy/__main__.py"} <= names
    in_package = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py")}
    assert in_package <= names
    licences = {name.rpartition("/")[2] for name in names if "/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}
    with tarfile.open(source) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "src/mcproxy/py.typed", "mcp-servers.v2.example.json"} <= inside


@pytest.mark.requirement("install.wheel")
@pytest.mark.parametrize("command", COMMANDS)
def test_both_commands_are_installed(installed: Path, command: str) -> None:
    told = subprocess.run(
        [installed / command, "--version"], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"mcproxy \d+\.\d+\S*\n", told.stdout)


@pytest.mark.requirement("install.wheel")
def test_the_installed_program_checks_and_serves_its_demo(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "mcproxy.json").write_text('{"servers": {"a": {"command": "true"}}}')
    checked = subprocess.run([installed / "mcproxy", "check"], cwd=tmp_path, check=False)
    assert checked.returncode == 0
    empty = tmp_path / "empty"
    empty.mkdir()
    with program([installed / "mcproxy-gateway", "--port", "0"], empty, os.environ) as (_, log):
        assert log.address()


@pytest.fixture(scope="module")
def pipx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pipx."""
    folder = tmp_path_factory.mktemp("pipx")
    uv("venv", "--quiet", "--python", sys.executable, folder)
    done = uv("pip", "install", "--quiet", "--python", folder / "bin/python", PIPX)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


@pytest.mark.requirement("install.lasting")
@pytest.mark.parametrize("run", ["uvx --from", "pipx run --spec"])
def test_connect_leaves_a_command_that_outlives_the_cache(
    distributions: Path, pipx: Path, tmp_path: Path, run: str
) -> None:
    [wheel] = distributions.glob("*.whl")
    env = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": os.pathsep.join([str(UV.parent), str(pipx), os.environ["PATH"]]),
        "UV_CACHE_DIR": uv("cache", "dir").stdout.strip(),
    }

    def done(*words: str) -> str:
        return subprocess.run(
            words, cwd=tmp_path, env=env, capture_output=True, text=True, check=True
        ).stdout

    told = done(*run.split(), str(wheel), "mcproxy-gateway", "connect", "cursor")
    assert f"`{run} {wheel.as_uri()} mcproxy-gateway connect cursor --undo` takes it back" in told
    entry = json.loads((tmp_path / ".cursor/mcp.json").read_text())["mcpServers"]["mcproxy"]
    start: list[str] = [entry["command"], *entry["args"][:-3]]
    assert start == [*run.split(), wheel.as_uri(), "mcproxy-gateway"]
    configuration = f"{tmp_path}/config/mcp-servers.json"
    assert entry["args"][-3:] == ["--stdio", "--config", configuration]
    assert done(*start, "--version").startswith("mcproxy ")
    # It is known for this gateway, and not taken over as a server.
    assert "nothing to do" in done(*start, "connect", "cursor")


@pytest.mark.requirement("install.typed")
@pytest.mark.parametrize("typed", ["mcproxy", "venv/bin/mcproxy", "venv/bin/python -m mcproxy"])
def test_messages_name_the_command_that_was_typed(
    installed: Path, tmp_path: Path, typed: str
) -> None:
    (tmp_path / "venv").symlink_to(installed.parent)
    (tmp_path / "mcproxy.json").write_text('{"servers": []}')
    found = f"{installed}{os.pathsep}{os.environ['PATH']}" if typed == "mcproxy" else "/bin"
    done = subprocess.run(
        ["/bin/sh", "-c", f"{typed} import"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PATH": found},
        check=False,
    )
    assert f"`{typed} migrate {tmp_path}/mcproxy.json --write` comes first" in done.stderr


@pytest.mark.requirement("install.version")
def test_the_version_is_the_tags(tmp_path: Path) -> None:
    source = source_copy(tmp_path / "source")
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    commit = (*who, "commit", "--quiet", "--message", "a")
    for words in (("init", "--quiet"), ("add", "."), commit, ("tag", "v9.8.7")):
        subprocess.run(["git", *words], cwd=source, check=True)
    build(source, tmp_path, "--wheel")
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.name.split("-")[1] == "9.8.7"


@pytest.mark.requirement("install.version")
def test_without_a_tag_it_is_the_checkouts(distributions: Path) -> None:
    [wheel] = distributions.glob("*.whl")
    assert wheel.name.split("-")[1] == mcproxy.__version__


@pytest.mark.requirement("install.commands")
def test_the_module_is_the_command() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "mcproxy", "--version"], capture_output=True, text=True, check=True
    )
    assert told.stdout == f"mcproxy {mcproxy.__version__}\n"


@pytest.mark.requirement("install.commands")
def test_make_run_leaves_the_command_in_the_environment() -> None:
    """Told by make itself, which does nothing here."""
    told = subprocess.run(
        ["make", "--dry-run", "--always-make", "run", "PORT=8123"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        # A make that runs these tests hands its own flags down.
        env={key: value for key, value in os.environ.items() if not key.startswith("MAKE")},
        check=True,
    ).stdout
    assert "chmod +x .venv/bin/mcproxy\n" in told
    assert told.rstrip().endswith(".venv/bin/mcproxy --port 8123")


def asked_for(extra: str | None) -> Iterator[Requirement]:
    """What pyproject.toml asks for, with an extra."""
    extras = PROJECT["optional-dependencies"]
    for text in [*PROJECT["dependencies"], *(extras[extra] if extra else [])]:
        yield Requirement(text)


@pytest.mark.requirement("install.pinned")
@pytest.mark.parametrize(
    ("file", "extra"), [("requirements.txt", None), ("requirements-dev.txt", "dev")]
)
def test_the_pins_are_what_the_project_asks_for(file: str, extra: str | None) -> None:
    """``make requirements`` mends it."""
    text = (ROOT / file).read_text()
    pins = {
        canonicalize_name(name): version
        for name, version in re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)", text, re.MULTILINE)
    }
    wanted = {canonicalize_name(each.name): each for each in asked_for(extra)}
    assert all(each.specifier.contains(pins[name]) for name, each in wanted.items())
    entries = re.split(r"^(?=[\w.-]+(?:\[[^]]*\])?==)", text, flags=re.MULTILINE)[1:]
    direct = {
        canonicalize_name(re.split(r"[=\[]", entry)[0])
        for entry in entries
        if f"{PROJECT['name']} (pyproject.toml)" in entry
    }
    assert direct == set(wanted)
