"""Logging in at a remote server, and what becomes of the tokens."""

import asyncio
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from mcproxy.call_errors import ServerDown
from mcproxy.upstream.remote.login_callback import Landing, LoginAnswer
from mcproxy.upstream.remote.oauth import LoginFailed, Person, log_in
from mcproxy.upstream.remote.tokens import Login, LoginFile, login_path
from tests.upstream.fleets import running
from tests.upstream.remote.remotes import Listening, forking


@contextmanager
def person() -> Iterator[Person]:
    """Somebody whose browser follows the URL to where it lands."""
    with Landing() as landing:

        async def show(url: str) -> None:
            shown.append(url)

        async def answer(state: str) -> LoginAnswer:
            async with asyncio.TaskGroup() as tasks:
                browser = tasks.create_task(browse(shown[-1]))
                answer = await landing.answer(state)
            assert "You can close this tab" in browser.result().text
            return answer

        shown: list[str] = []
        yield Person(landing.uri, show, answer)


async def browse(url: str) -> httpx.Response:
    """Where a browser ends."""
    async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as browser:
        return await browser.get(url)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    """A server that wants a login, with the given options."""
    with forking("remote_oauth.py", tmp_path_factory.mktemp("guarded")) as guarded:
        yield guarded


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own for the state of the gateway."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.requirement("remote.login")
async def test_a_login_opens_the_server_and_is_refreshed(state: Path, guarded: Listening) -> None:
    with guarded() as url:
        path = login_path({"XDG_STATE_HOME": str(state)}, "guarded")
        async with running(guarded={"url": url}) as watched:
            health = await watched.until("guarded", lambda health: health.state == "restarting")
            assert "`mcproxy login guarded`" in str(health.last_error)
            with person() as ada:
                await log_in(url, LoginFile(path, url), ada)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            await watched.until("guarded", lambda health: health.state == "ready")
            await watched.call("guarded", "expire")
            async with asyncio.TaskGroup() as tasks:
                calls = [
                    tasks.create_task(watched.call("guarded", "echo", text=f"call {number}"))
                    for number in range(5)
                ]
            assert all(f"call {n}" in str(call.result()) for n, call in enumerate(calls))
            assert "2 tokens, 1 clients" in str(await watched.call("guarded", "issued"))
        async with running(guarded={"url": url}) as watched:
            assert watched.fleet.health()["guarded"].state == "ready"  # over a restart too
            await watched.call("guarded", "revoke")
            with pytest.raises(ServerDown, match="mcproxy login guarded"):
                await watched.call("guarded", "echo", text="x")


@pytest.mark.requirement("remote.login_refused")
async def test_a_refused_login_leaves_nothing(state: Path, guarded: Listening) -> None:
    path = state / "login.json"
    with guarded("--refuse") as url, person() as ada:
        with pytest.raises(LoginFailed, match=r"said no \(access_denied: Ada pressed \[31m no\)"):
            await log_in(url, LoginFile(path, url), ada)
        assert not path.exists()


async def test_a_login_with_a_wrong_code_leaves_nothing(state: Path, guarded: Listening) -> None:
    async def show(url: str) -> None:
        """Nobody looks."""

    async def answer(state: str) -> LoginAnswer:
        return LoginAnswer(code="wrong")

    with guarded() as url:
        path = state / "login.json"
        with pytest.raises(LoginFailed, match="invalid_grant"):
            await log_in(url, LoginFile(path, url), Person("http://127.0.0.1:9/", show, answer))
        assert not path.exists()


def test_a_token_is_not_given_to_another_url(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    LoginFile(path, "https://one.example/mcp").write(
        Login(url="https://one.example/mcp", tokens={"access_token": "x"})
    )
    assert LoginFile(path, "https://one.example/mcp").read().tokens == {"access_token": "x"}
    assert LoginFile(path, "https://two.example/mcp").read().tokens == {}
    path.write_text("no json")
    assert LoginFile(path, "https://one.example/mcp").read().tokens == {}
