"""Where the browser lands after a login: a port of the loopback interface (RFC 8252, section 7.3),
and what it brings.

That is a code, or an error, in the query of the redirect URI, with the ``state`` of the request
(OAuth 2.1, section 4.1.2). A person without the whole URL may bring the code alone; PKCE binds it
to the login. The port lives as long as one login and answers one question. A request that does not
bring the answer, be it the browser's own (a favicon) or a stranger's, changes nothing. What it is
told is never shown back.
"""

import asyncio
import contextlib
import hmac
import re
import socket
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import h11
import msgspec

from mcproxy.errors import McproxyError

MAX_CHARS = 300  # of what the server says in its own words

_CODE = re.compile(r"[!-~]+")
_WORDS = {
    "access_denied": "the login was refused: you, or the server's rules, said no",
    "invalid_scope": "the server does not grant what was asked for",
    "server_error": "the authorization server failed; try again later",
    "temporarily_unavailable": "the authorization server is busy; try again later",
    "unauthorized_client": "the authorization server does not let MCProxy log in this way",
}


class LoginAnswer(msgspec.Struct, frozen=True):
    """A code, or ``refusal``: why there is none, in words. ``iss`` as in RFC 9207."""

    code: str = ""
    refusal: str = ""
    iss: str | None = None


class NoAnswer(McproxyError):
    """This is not the answer to the login; the text says what is missing."""


def pasted_answer(text: str, state: str) -> LoginAnswer:
    """The answer in what a person pasted: a URL, its query, or the code alone.

    Raises NoAnswer.
    """
    text = text.strip()
    try:
        query = urlsplit(text).query or text
    except ValueError:
        query = text
    alone = not {"code", "error"} & parse_qs(query).keys() and "://" not in text
    return LoginAnswer(code=text) if alone and _CODE.fullmatch(text) else answer_in(query, state)


def answer_in(query: str, state: str) -> LoginAnswer:
    """The answer in the query of a redirect, to the login with this ``state``. Raises NoAnswer."""
    found = {name: values[0] for name, values in parse_qs(query).items()}
    if not found.keys() & {"code", "error"}:
        raise NoAnswer("there is no `code=` in it; copy the whole address")
    if not hmac.compare_digest(found.get("state", "").encode(), state.encode()):
        raise NoAnswer("it belongs to another login (its `state` is not the one that was sent)")
    if "error" in found:
        return LoginAnswer(refusal=_refusal(found["error"], found.get("error_description", "")))
    return LoginAnswer(code=found["code"], iss=found.get("iss"))


def _refusal(error: str, description: str) -> str:
    words = _WORDS.get(error, "the authorization server gave no login")
    return f"{words} ({_printable(': '.join(filter(None, (error, description))))})"


def _printable(text: str) -> str:
    """Foreign words, fit for a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)[:MAX_CHARS]


REQUEST_SECS = 10.0  # for a request to arrive; browsers open connections that they never use
_PATH = "/callback"
_CHUNK_BYTES = 1 << 14
_PAGE = """\
<!doctype html>
<html lang="en"><meta charset="utf-8"><title>MCProxy</title>
<p>{}</p></html>
"""
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
    "Referrer-Policy": "no-referrer",  # the address of the page has the code in it
    "Connection": "close",
}
_DONE = "MCProxy has the answer; the terminal tells how it went. You can close this tab."
_REFUSED = "The login was refused; the terminal tells why. You can close this tab."
_OTHER = "This is not what the login waits for. Follow the link in the terminal once more."


class Landing:
    """A context manager that listens on ``port``, 0 for a free one. Raises OSError."""

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.setblocking(False)

    @property
    def uri(self) -> str:
        """The redirect URI. By address: a name may lead elsewhere (RFC 8252, section 8.3)."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}{_PATH}"

    def __enter__(self) -> "Landing":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    async def answer(self, state: str) -> LoginAnswer:
        """Wait for the answer to the login with this ``state``; the browser has seen its page."""
        arrived: asyncio.Future[LoginAnswer] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as connections:
            accepting = connections.create_task(self._accept(state, arrived))
            answer = await arrived
            accepting.cancel()
        return answer

    async def _accept(self, state: str, arrived: asyncio.Future[LoginAnswer]) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as connections:
            while True:
                sock, _ = await loop.sock_accept(self._listener)
                connections.create_task(_serve(sock, state, arrived))


async def _serve(sock: socket.socket, state: str, arrived: asyncio.Future[LoginAnswer]) -> None:
    """One connection, one request."""
    with contextlib.suppress(OSError, h11.ProtocolError, TimeoutError):
        async with asyncio.timeout(REQUEST_SECS):
            reader, writer = await asyncio.open_connection(sock=sock)
            with contextlib.closing(writer):
                http = h11.Connection(h11.SERVER)
                target = await _target(http, reader)
                answer, status, page = _reply(target, state)
                writer.write(_written(http, status, page))
                await writer.drain()
        if answer and not arrived.done():
            arrived.set_result(answer)


async def _target(http: h11.Connection, reader: asyncio.StreamReader) -> str:
    """The path and query of a GET; empty for anything else. Raises h11.ProtocolError."""
    while (event := http.next_event()) is h11.NEED_DATA:
        http.receive_data(await reader.read(_CHUNK_BYTES))
    if not isinstance(event, h11.Request) or event.method != b"GET":
        return ""
    return event.target.decode("latin-1")


def _reply(target: str, state: str) -> tuple[LoginAnswer | None, HTTPStatus, str]:
    """What a request brings, and what the browser shows for it. Pure."""
    path, _, query = target.partition("?")
    if path != _PATH:
        return None, HTTPStatus.NOT_FOUND, _OTHER
    try:
        answer = answer_in(query, state)
    except NoAnswer:
        return None, HTTPStatus.BAD_REQUEST, _OTHER
    return answer, HTTPStatus.OK, _REFUSED if answer.refusal else _DONE


def _written(http: h11.Connection, status: HTTPStatus, page: str) -> bytes:
    body = _PAGE.format(page).encode()
    headers = [*_HEADERS.items(), ("Content-Length", str(len(body)))]
    events = (
        h11.Response(status_code=status, headers=headers, reason=status.phrase.encode()),
        h11.Data(data=body),
        h11.EndOfMessage(),
    )
    return b"".join(http.send(event) or b"" for event in events)
