"""``mcproxy login SERVER``: a person logs in to a remote server (OAuth 2.1).

Opens the browser where there is one; the person copies the address at which it ended up, since the
gateway may run on another machine than the browser.
"""

import asyncio
import sys
import webbrowser

from mcproxy.commands.report import GOOD, PROBLEMS, USAGE, Report
from mcproxy.config.faults import did_you_mean
from mcproxy.config.load import Loaded
from mcproxy.upstream.remote.tokens import LoginFile, login_path

ASK = """\
Log in to {server} in the browser, or open this address in one on any machine:

  {url}

The browser ends at an address that does not load. Copy it here, whole:
"""


def run(loaded: Loaded, name: str) -> Report:
    """Log in; the token is kept in the state directory, readable by its owner only."""
    server = loaded.config.servers.get(name)
    if server is None:
        hint = did_you_mean(name, loaded.config.servers)
        return Report((f"there is no server {name!r} ({hint})",), USAGE)
    if not server.url:
        return Report((f"{name} is no remote server: it has no url, and needs no login",), USAGE)
    try:
        from mcproxy.upstream.remote.oauth import LoginFailed, Person, log_in  # noqa: PLC0415 - an extra
    except ImportError:
        return Report(("login needs an extra: pip install 'mcproxy[oauth]'",), PROBLEMS)

    async def show(url: str) -> None:
        sys.stderr.write(ASK.format(server=name, url=url))
        await asyncio.to_thread(webbrowser.open, url)

    async def paste() -> str:
        line: str = await asyncio.to_thread(sys.stdin.readline)
        return line.strip()

    file = LoginFile(login_path(loaded.environment, name), server.url)
    try:
        asyncio.run(log_in(server.url, file, Person(show, paste)))
    except LoginFailed as failure:
        return Report((f"{name}: {failure}",), PROBLEMS)
    return Report((f"{name}: logged in; a running gateway uses it within a minute",), GOOD)
