"""``mcproxy login SERVER``: a person logs in to a remote server (OAuth 2.1).

The browser comes back to a port of this machine by itself. Where it runs on another machine, it
ends at an address that does not load there: the person pastes that address, or the code in it, into
the terminal. Whichever comes first counts.
"""

import asyncio
import contextlib
import os
import sys
import threading
import webbrowser
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from functools import partial

import msgspec

from mcproxy.commands.report import CommandReport, WrongUsage
from mcproxy.config.load import Loaded
from mcproxy.config.model import Config
from mcproxy.config.validation_messages import unknown
from mcproxy.errors import McproxyError
from mcproxy.frontends.pipes import reading
from mcproxy.upstream.remote.login_callback import Landing, LoginAnswer, NoAnswer, pasted_answer
from mcproxy.upstream.remote.tokens import LoginFile, login_path

MAX_LINE_BYTES = 16 << 10  # pasted by somebody; terminals themselves take 4 KiB

ASK = """\
{what}

  {url}

A browser on this machine comes back by itself. One on another machine ends at an address that does
not load: paste that address here, or the code in it.
"""
OPENED = "Log in to {} in the browser that opens now. If none does, open this address in one:"
TO_OPEN = "To log in to {}, open this address in a browser, on any machine:"

Wait = Callable[[str], Awaitable[LoginAnswer]]

_LACKING = "login needs another package: {} -m pip install 'mcp>=2.3'"


class CannotLogIn(McproxyError):
    """Nobody was logged in."""


class LoginWay(msgspec.Struct, frozen=True):
    """How to log in: the ``port`` that the browser comes back to (0: a free one), and whether to
    open a ``browser``."""

    port: int = 0
    browser: bool = True


def run(loaded: Loaded, name: str, way: LoginWay) -> CommandReport:
    """Log in; the token is kept in the state directory, readable by its owner only.

    Raises WrongUsage, CannotLogIn.
    """
    url = _url(loaded.config, name)
    try:
        from mcproxy.upstream.remote.oauth import LoginFailed, Person, log_in  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise CannotLogIn(_LACKING.format(sys.executable)) from error
    try:
        landing = Landing(way.port)
    except OSError as error:
        text = f"cannot listen on 127.0.0.1:{way.port}: {error.strerror}; choose another --port"
        raise CannotLogIn(text) from error
    show = partial(_show, name, opens=way.browser and has_browser(loaded.environment))
    person = Person(landing.uri, show, lambda state: _first(state, landing.answer, _pasted))
    file = LoginFile(login_path(loaded.environment, name), url)
    with landing:
        try:
            asyncio.run(log_in(url, file, person))
        except LoginFailed as failure:
            raise CannotLogIn(f"{name}: {failure}") from failure
    done = f"{name}: logged in; a running gateway uses it within a minute"
    return CommandReport((done,), facts={"server": name, "logged_in": True})


def _url(config: Config, name: str) -> str:
    server = config.servers.get(name)
    if server is None:
        raise WrongUsage(str(unknown("", "server", name, config.servers)))
    if not server.url:
        raise WrongUsage(f"{name} is no remote server: it has no url, and needs no login")
    return server.url


async def _show(name: str, url: str, *, opens: bool) -> None:
    what = (OPENED if opens else TO_OPEN).format(name)
    sys.stderr.write(ASK.format(what=what, url=url))
    sys.stderr.flush()
    if opens:  # some browsers end only when they are closed: nobody waits for the thread
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def has_browser(environment: Mapping[str, str]) -> bool:
    """Is there a browser to open: a display, or one that was named? Without either, as over SSH,
    what there might be is a browser in this terminal, which is in use."""
    return any(environment.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))


async def _first(state: str, *ways: Wait) -> LoginAnswer:
    """The answer that comes first."""
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(_answer(way, state)) for way in ways]
        done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
    return done.pop().result()


async def _answer(way: Wait, state: str) -> LoginAnswer:
    return await way(state)


async def _pasted(state: str) -> LoginAnswer:
    """The answer that is pasted into the terminal; what is none is told. Without end where the
    input has ended: then only the browser can bring one."""
    try:
        async with reading(os.dup(0)) as chunks, contextlib.aclosing(_lines(chunks)) as lines:
            async for line in lines:
                try:
                    return pasted_answer(line, state)
                except NoAnswer as fault:
                    sys.stderr.write(f"This is not the answer: {fault}.\n")
    finally:
        os.set_blocking(0, True)  # the terminal is shared with whoever started this program
    never: asyncio.Future[LoginAnswer] = asyncio.get_running_loop().create_future()
    return await never


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[str, None]:
    """The lines in the chunks that have something in them."""
    kept = b""
    async for chunk in chunks:
        *lines, kept = (kept + chunk).split(b"\n")
        kept = kept[-MAX_LINE_BYTES:]
        for line in lines:
            if line.strip():
                yield line.decode(errors="replace")
    if kept.strip():
        yield kept.decode(errors="replace")
