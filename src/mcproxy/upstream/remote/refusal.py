"""What it means that a remote server could not be reached, or answered without a reply. Pure.

Turns faults of HTTP into words that name the cause and the cure, and sorts them: ``Gone`` ends the
session, PeerClosed is one call that the server did not take or that was lost, RpcError its answer.
Names the server by its origin only: the rest of a URL may be a secret.
"""

import re
import socket
import ssl
from collections.abc import Collection, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

from mcproxy.errors import PeerClosed, RpcError
from mcproxy.types import Cause
from mcproxy.wire.message import Failure, RequestId, decode, head

SHOWN_BYTES = 200  # of a body that is not for machines
MIN_SECRET_CHARS = 6  # shorter parts of a header are words, such as Bearer

_BUSY = (429, 502, 503, 504)  # too much to do, or a proxy's word for a server that is not there
_NO_SESSION = re.compile(
    rb"session[ -]?id|session (?:is )?(?:not found|unknown|expired|terminated|closed|invalid)"
    rb"|(?:no valid|unknown|invalid|expired) session",
    re.IGNORECASE,
)
# With these a request was judged, whatever the status; other codes under a 404 mean the session.
_JUDGED = (RpcError.METHOD_NOT_FOUND, RpcError.INVALID_PARAMS, RpcError.INTERNAL_ERROR)
_TITLE = re.compile(rb"<title[^>]*>(.{0,500}?)</title>", re.IGNORECASE | re.DOTALL)
TITLE_CHARS = 80
MAX_RETRY_SECS = 86_400.0  # a server that names a later time is as good as gone
_OLD_TRANSPORT = (400, 404, 405)  # MCP 2025-11-25, Transports, "Backwards Compatibility"
_LOST = "the connection was lost before the answer was complete: {0}"
_WORDS: Sequence[tuple[type[Exception], str, Cause | None]] = (
    (socket.gaierror, "its name is not found in DNS ({0.strerror})", "unknown_host"),
    (ConnectionRefusedError, "nothing listens there (connection refused)", "connection_refused"),
    (
        ssl.SSLCertVerificationError,
        "its TLS certificate is not accepted: {0.verify_message}",
        "tls",
    ),
    (
        ssl.SSLWantReadError,
        "it did not take part in the TLS handshake; does it speak https?",
        "tls",
    ),
    (ssl.SSLError, "TLS failed: {0}", "tls"),
    (httpx.ConnectTimeout, "it did not accept a connection in time", "too_slow"),
    (httpx.ReadTimeout, "it was silent for too long", "too_slow"),
    (httpx.ProxyError, "the proxy of the environment refused: {0}", "proxy"),
    (ConnectionResetError, _LOST, None),
    (BrokenPipeError, _LOST, None),
    (httpx.RemoteProtocolError, "it broke off the answer, or the rules of HTTP: {0}", "no_mcp"),
)
_BY_STATUS: Mapping[int, Cause] = {403: "forbidden", 404: "not_found", 405: "not_found"}
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


class Gone(PeerClosed):
    """The server as a whole cannot be used at present: nobody answers, or nobody lets us in."""


def fault(error: Exception, origin: str) -> PeerClosed:
    """The fault for an exception of the HTTP client; Gone where nothing was sent."""
    words, cause = _words(error)
    text = f"{origin}: {words}"
    kind = Gone if isinstance(error, _NOT_SENT) else PeerClosed
    return kind(text, cause=cause)


def refusal(
    status: int,
    body: bytes,
    secrets: Collection[str] = (),
    name: str = "NAME",
    retry_after: float | None = None,
) -> PeerClosed | RpcError:
    """The fault for a status that is none of success; ``name`` is the server's, ``retry_after``
    what it says of later, in seconds."""
    if status == HTTPStatus.UNAUTHORIZED:
        return Gone(
            f"it answered {named(status)}: the server wants (other) credentials; "
            f"set its `headers`, such as Authorization, or run `mcproxy login {name}`",
            cause="unauthorized",
        )
    failure = _failure_in(body)
    if failure:
        return failure.error if status not in _BUSY else _busy(failure.error.message, retry_after)
    text = f"it answered {named(status)}{_excerpt(body, secrets)}"
    if status in _BUSY:
        return _busy(text, retry_after)
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        text += " (is the path of its `url` right?)"
    return RpcError(RpcError.INTERNAL_ERROR, text, cause=_BY_STATUS.get(status))


def session_lost(status: int, body: bytes, request: RequestId) -> bool:
    """Whether a request within a session was refused because the server forgot the session.

    404 is what the specification wants (MCP 2025-11-25, Transports, "Session Management"); older
    servers say 400 and name the session. Either way the request was not processed: what was
    processed and failed has an error that bears the request's id, and a code of a judgement.
    """
    failure = _failure_in(body)
    answered = failure is not None and failure.id == request
    named = _NO_SESSION.search(body) is not None
    if status == HTTPStatus.NOT_FOUND:
        code = failure.error.code if failure else None
        unknown = code == RpcError.METHOD_NOT_FOUND
        return named or not (unknown or (answered and code in _JUDGED))
    return status == HTTPStatus.BAD_REQUEST and named and not answered


def retry_secs(value: str | None, now: float) -> float | None:
    """The header ``Retry-After`` in seconds (RFC 9110, 10.2.3); ``now`` since the epoch."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return min(float(value), MAX_RETRY_SECS)
    try:
        until = parsedate_to_datetime(value).timestamp()
    except ValueError:
        return None
    return min(max(0.0, until - now), MAX_RETRY_SECS)


def web_page(status: int, body: bytes, secrets: Collection[str] = ()) -> PeerClosed:
    """The fault for an answer in HTML: the URL is that of a page for people."""
    return PeerClosed(
        f"its `url` answers with a web page ({named(status)}{_titled(body, secrets)}); "
        "it is probably not an MCP endpoint",
        cause="no_mcp",
    )


def _busy(text: str, retry_after: float | None) -> PeerClosed:
    return PeerClosed(text, retry_after=retry_after)


def is_older(status: int, body: bytes) -> bool:
    """Whether the refusal of ``initialize`` may be that of a server of the HTTP+SSE transport."""
    return status in _OLD_TRANSPORT and _failure_in(body) is None


def _words(error: Exception) -> tuple[str, Cause | None]:
    for each in _causes(error):
        for kind, words, cause in _WORDS:
            if isinstance(each, kind):
                return words.format(each), cause
    return str(error) or type(error).__name__, None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The exception's causes, the innermost first, and itself."""
    if error is None:
        return
    yield from _causes(error.__cause__ or error.__context__)
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _causes(inner)
    yield error


def _failure_in(body: bytes) -> Failure | None:
    try:
        message = decode(body)
    except RpcError:
        return None
    return message if isinstance(message, Failure) else None


def named(status: int) -> str:
    """A status with its name."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _excerpt(body: bytes, secrets: Collection[str]) -> str:
    text = " ".join(body.decode("utf-8", "replace").split())
    if text.startswith("<"):
        return f" with a web page{_titled(body, secrets)}"
    text = without(text, secrets)
    return f": {head(text.encode(), SHOWN_BYTES)}" if text else ""


def _titled(body: bytes, secrets: Collection[str]) -> str:
    found = _TITLE.search(body)
    words = " ".join(found[1].decode("utf-8", "replace").split()) if found else ""
    shown = "".join(char for char in words if char.isprintable())[:TITLE_CHARS]
    return f", {without(shown, secrets)!r}" if shown else ""


def without(text: str, secrets: Collection[str]) -> str:
    """A text without what headers keep secret."""
    for secret in secrets:
        for part in re.split(r"\s+", secret):
            text = text.replace(part, "***") if len(part) >= MIN_SECRET_CHARS else text
    return text
