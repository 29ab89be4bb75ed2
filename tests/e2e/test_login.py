"""``mcproxy login`` as a user runs it, at a real authorization server."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from mcproxy.login import has_browser
from tests.e2e.gateways import MAIN
from tests.preloaded.program import command
from tests.upstream.fleets import SERVERS
from tests.upstream.remote.remotes import listening

WAIT_SECS = 40
BROWSER = {"BROWSER": f"{sys.executable} {SERVERS / 'browser.py'} %s"}
URL = re.compile(r"^  (http\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """A server that asks for a login; each test is a client that it has not met."""
    with listening("remote_oauth.py") as url:
        yield url


@contextmanager
def login(
    directory: Path,
    url: str,
    *options: str,
    browser: Mapping[str, str] = BROWSER,
    anew: bool = False,
) -> Iterator[subprocess.Popen[str]]:
    """Log in to a server; the terminal is a pipe that stays open. ``anew``, the program has an
    interpreter of its own, and imports what it needs."""
    config = directory / "mcproxy.json"
    config.write_text(json.dumps({"servers": {"guarded": {"url": url}}}))
    start = [sys.executable, str(MAIN)] if anew else command()
    environment = {**os.environ, "XDG_STATE_HOME": str(directory), **browser}
    with subprocess.Popen(
        [*start, "--config", str(config), "login", "guarded", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def shown(process: subprocess.Popen[str]) -> str:
    """The address that is to be opened."""
    assert process.stderr
    said = ""
    while not (found := URL.search(said)):
        line = process.stderr.readline()
        assert line, said
        said += line
    return found[1]


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit status and what it said last; the browser, still open, shares its output."""
    status = process.wait(WAIT_SECS)
    assert process.stdout
    assert process.stderr
    if status == 0:
        return status, process.stdout.readline()
    while not (line := process.stderr.readline()).startswith("mcproxy: "):
        assert line
    return status, line


def landed(url: str) -> str:
    """Where the browser of another machine ends: an address that does not load there."""
    return str(httpx.get(url, trust_env=False).headers["location"])


@pytest.mark.requirement("remote.login_browser")
def test_the_browser_opens_and_comes_back(tmp_path: Path, guarded: str) -> None:
    with login(tmp_path, guarded, anew=True) as process:
        status, said = ended(process)
        assert (status, said) == (
            0,
            "guarded: logged in; a running gateway uses it within a minute\n",
        )
        kept = tmp_path / "mcproxy/oauth/guarded.json"
        assert json.loads(kept.read_text())["tokens"]["access_token"] not in said


@pytest.mark.requirement("remote.login_refused")
def test_a_refusal_is_told(tmp_path: Path) -> None:
    with listening("remote_oauth.py", "--refuse") as url, login(tmp_path, url) as process:
        status, said = ended(process)
        assert status == 1
        assert said.startswith("mcproxy: guarded: the login was refused")


@pytest.mark.requirement("remote.login_pasted")
@pytest.mark.parametrize("whole", [True, False])
def test_an_address_or_code_is_pasted(tmp_path: Path, guarded: str, whole: bool) -> None:
    with login(tmp_path, guarded, "--no-browser") as process:
        assert process.stdin
        assert process.stderr
        end = landed(shown(process))
        process.stdin.write(f"\nhttp://127.0.0.1/?code=x&state=y\n{end if whole else _code(end)}\n")
        process.stdin.flush()
        assert ended(process)[0] == 0
        assert "belongs to another login" in process.stderr.read()


def _code(url: str) -> str:
    return httpx.URL(url).params["code"]


@pytest.mark.requirement("remote.login_browser")
def test_without_a_terminal_the_address_is_printed_and_the_browser_still_comes_back(
    tmp_path: Path,
    guarded: str,
) -> None:
    with login(tmp_path, guarded, "--no-browser") as process:
        assert process.stdin
        process.stdin.close()
        assert httpx.get(landed(shown(process)), trust_env=False).status_code == 200
        assert ended(process)[0] == 0


@pytest.mark.requirement("remote.login_browser")
def test_the_port_can_be_chosen(tmp_path: Path, guarded: str) -> None:
    with (
        httpx.Client(trust_env=False) as browser,
        login(tmp_path, guarded, "--no-browser") as first,
    ):
        url = httpx.URL(shown(first))
        port = httpx.URL(url.params["redirect_uri"]).port
        with login(tmp_path, guarded, "--port", str(port)) as second:
            status, said = ended(second)
            assert status == 1
            assert "choose another --port" in said
        browser.get(url, follow_redirects=True)
        assert ended(first)[0] == 0


@pytest.mark.requirement("remote.login_browser")
@pytest.mark.parametrize(
    ("environment", "opens"),
    [
        ({"DISPLAY": ":0"}, True),
        ({"WAYLAND_DISPLAY": "wayland-0", "SSH_TTY": "/dev/pts/1"}, True),
        ({"BROWSER": "firefox"}, True),
        ({"SSH_TTY": "/dev/pts/1"}, False),
        ({"DISPLAY": ""}, False),
        ({}, False),
    ],
)
def test_when_there_is_a_browser(environment: Mapping[str, str], opens: bool) -> None:
    assert has_browser(environment) is opens
