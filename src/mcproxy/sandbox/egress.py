"""The proxy through which scripts reach allowed hosts: TLS to port 443, plain HTTP to port 80.

It runs in the gateway and is all the network that a sandbox has, so its word is final: what it does
not carry does not leave. One object for each profile; executions are told apart by their line to
the proxy, or by the token in their proxy's URL where they share a listener. The rules are in
``targets``, ``addresses`` and ``tls``.
"""

import asyncio
import base64
import contextlib
import logging
import socket
from collections.abc import Iterable, Iterator

import h11

from mcproxy.sandbox import relay, tls
from mcproxy.sandbox.budget import Budget, Caps
from mcproxy.sandbox.dialling import Net, connect
from mcproxy.sandbox.relay import HttpEnd, Stream, request_headers
from mcproxy.sandbox.targets import (
    Refused,
    Target,
    connect_target,
    host_name,
    http_target,
    is_allowed,
)

HEAD_SECS = 10.0  # for the head of a request, and for the ClientHello

_MOST_NAMED = 10  # allowed hosts in a refusal
_MOST_REASON_CHARS = 400
_ACCESS_DENIED = bytes((21, 3, 3, 0, 2, 2, 49))  # a fatal alert of TLS (RFC 8446, 6.2)
_ENDINGS = (OSError, EOFError, h11.ProtocolError, Refused)  # of a connection that was allowed

log = logging.getLogger("mcproxy.egress")


class Egress:
    """Carries what goes to ``allowed`` hosts (as in ``sandbox.network.allowed_hosts``)."""

    def __init__(
        self, allowed: tuple[str, ...], net: Net | None = None, caps: Caps | None = None
    ) -> None:
        self._allowed = frozenset(allowed)
        self._rule = _rule(allowed)
        self._net, self._caps = net or Net(), caps or Caps()
        self._budgets: dict[str, Budget] = {}

    @contextlib.contextmanager
    def admitted(self, token: str) -> Iterator[None]:
        """While an execution runs: serve what comes to the listener with its token."""
        budget = self._budgets[token] = Budget(self._caps)
        try:
            yield
        finally:
            del self._budgets[token]
            budget.close()

    async def serve_listener(self, listener: socket.socket) -> None:
        """Accept on a socket that listens inside the network namespace of the workers."""
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as connections:
            while True:
                sock, _ = await loop.sock_accept(listener)
                connections.create_task(self._serve(sock, None))

    async def serve_dials(self, dial: socket.socket) -> None:
        """Answer each byte on ``dial`` with a connected AF_UNIX stream, until the worker ends."""
        dial.setblocking(False)
        loop = asyncio.get_running_loop()
        budget = Budget(self._caps)
        async with asyncio.TaskGroup() as connections:
            with contextlib.suppress(OSError):  # the worker is gone, or takes no more answers
                while await loop.sock_recv(dial, 1):
                    ours, theirs = socket.socketpair()
                    connections.create_task(self._serve(ours, budget))
                    with theirs:
                        socket.send_fds(dial, [b"+"], [theirs.fileno()])

    async def _serve(self, sock: socket.socket, budget: Budget | None) -> None:
        """One connection, from its request to its end; a fault in it harms no other."""
        sock.setblocking(False)
        with sock:
            stream = Stream(*await asyncio.open_connection(sock=sock))
            script = HttpEnd(h11.SERVER, stream)
            try:
                await self._answer(script, budget)
            except* _ENDINGS as ended:
                log.debug("connection ended: %s", ended.exceptions)
            finally:
                stream.close()

    async def _answer(self, script: HttpEnd, budget: Budget | None) -> None:
        target: Target | None = None
        try:
            request = await _head(script)
            target = _target(request)
            budget = budget or self._budget_of(request)
            with budget.connection():
                self._judge(target.host)
                async with budget.slots:
                    await self._carry(script, request, target, budget)
        except Refused as refused:
            where = f"{target.host}:{target.port}" if target else "-"
            _audit("refused", where, refused.reason)
            await _refuse(script, refused, self._rule)

    def _judge(self, host: str) -> None:
        if not is_allowed(host, self._allowed):
            raise Refused(403, f"host {host!r} is not allowed")

    async def _carry(
        self, script: HttpEnd, request: h11.Request, target: Target, budget: Budget
    ) -> None:
        host = await connect(self._net, target)
        try:
            if request.method == b"CONNECT":
                await _tunnel(script, host, target, budget)
            else:
                _audit("allowed", f"{target.host}:{target.port}", "")
                head = h11.Request(
                    method=request.method,
                    target=target.path,
                    headers=request_headers(request.headers, target.host),
                )
                await relay.exchange(script, HttpEnd(h11.CLIENT, host), head, budget.spend)
        finally:
            host.close()

    def _budget_of(self, request: h11.Request) -> Budget:
        budget = self._budgets.get(_token(request.headers))
        if budget is None:
            raise Refused(407, "send the user name and password of HTTPS_PROXY along")
        return budget


async def _head(script: HttpEnd) -> h11.Request:
    """The head of the request. Raises Refused, EOFError when nothing is asked."""
    try:
        async with asyncio.timeout(HEAD_SECS):
            event = await script.next()
    except TimeoutError as error:
        raise Refused(408, f"no request within {HEAD_SECS:g} s") from error
    except h11.RemoteProtocolError as error:
        raise Refused(error.error_status_hint, f"not a request to a proxy: {error}") from error
    if isinstance(event, h11.Request):
        return event
    raise EOFError("closed without a request")


def _target(request: h11.Request) -> Target:
    target = request.target.decode("ascii", "replace")
    if request.method == b"CONNECT":
        return connect_target(target)
    names = [name for name, _ in request.headers]
    if b"content-length" in names and b"transfer-encoding" in names:
        raise Refused(400, "a request has either Content-Length or Transfer-Encoding")
    return http_target(target)


def _token(headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == b"proxy-authorization":
            scheme, _, encoded = value.partition(b" ")
            with contextlib.suppress(ValueError):
                if scheme.lower() == b"basic":
                    return base64.b64decode(encoded).decode().partition(":")[2]
    return ""


async def _tunnel(script: HttpEnd, host: Stream, target: Target, budget: Budget) -> None:
    where = f"{target.host}:{target.port}"
    if not isinstance(await script.next(), h11.EndOfMessage):
        raise Refused(400, "CONNECT has no body")
    await script.send(h11.Response(status_code=200, headers=[], reason=b"Connected"))
    try:
        hello = await _hello(script, target.host)
    except tls.NotAClientHello as fault:
        _audit("refused", where, str(fault))
        script.stream.writer.write(_ACCESS_DENIED)
        return
    _audit("allowed", where, "")
    budget.spend(len(hello))
    host.writer.write(hello)
    await relay.tunnel(script.stream, host, budget.spend)


async def _hello(script: HttpEnd, host: str) -> bytes:
    """What came first into a tunnel: a whole ClientHello for ``host``. Raises NotAClientHello."""
    data = bytes(script.http.trailing_data[0])
    async with asyncio.timeout(HEAD_SECS):
        while (name := tls.server_name(data)) is None:
            chunk = await script.stream.reader.read(tls.MOST_BYTES)
            if not chunk:
                raise EOFError("closed within the ClientHello")
            data += chunk
    try:
        same = host_name(name) == host
    except Refused:
        same = False
    if not same:
        raise tls.NotAClientHello(f"TLS for {name[:80]!r} in a tunnel to {host!r}")
    return data


async def _refuse(script: HttpEnd, refused: Refused, rule: str) -> None:
    """The reason phrase says it too: of an answer to CONNECT, clients show nothing else."""
    said = f"{refused.reason}. {rule}" if refused.status == 403 else refused.reason
    said = said.encode("ascii", "replace").decode()[:_MOST_REASON_CHARS]
    body = f"Refused by the sandbox: {said}\n".encode()
    if script.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return  # too late: part of an answer has been sent
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    headers += [("Connection", "close")]
    if refused.status == 407:
        headers += [("Proxy-Authenticate", 'Basic realm="sandbox"')]
    reason = "".join(char if char.isprintable() else "?" for char in said)
    await script.send(
        h11.Response(status_code=refused.status, headers=headers, reason=reason.encode())
    )
    await script.send(h11.Data(data=body))
    await script.send(h11.EndOfMessage())


def _audit(verdict: str, where: str, reason: str) -> None:
    """One line for each connection. ``where`` and ``reason`` are partly the script's words."""
    fields = {"verdict": verdict, "host": where, "reason": reason}
    log.info("%s %s %s", verdict, where, reason, extra=fields)


def _rule(allowed: tuple[str, ...]) -> str:
    shown = ", ".join(allowed[:_MOST_NAMED])
    more = len(allowed) - _MOST_NAMED
    rest = f" and {more} more" if more > 0 else ""
    return f"Allowed are {shown}{rest} (sandbox.network.allowed_hosts)"
