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
from http import HTTPStatus

import h11

from mcproxy.sandbox.network import refusal, relay, tls
from mcproxy.sandbox.network.dialling import Caps, EgressBudget, Net, Resolver, connect
from mcproxy.sandbox.network.relay import ByteStream, HttpEnd, request_headers
from mcproxy.sandbox.network.targets import (
    Refused,
    Target,
    connect_target,
    host_name,
    http_target,
    is_allowed,
)

HEAD_SECS = 10.0  # for the head of a request, and for the ClientHello
MAX_STRANGERS = 64  # connections at a shared listener whose token is not known yet, or was wrong
REST_SECS = 0.5  # after a failed accept: usually all descriptors are in use

_ENDINGS = (OSError, EOFError, h11.ProtocolError)  # of a connection that was allowed

log = logging.getLogger("mcproxy.egress")


class Egress:
    """Carries what goes to ``allowed`` hosts (as in ``sandbox.network.allowed_hosts``)."""

    def __init__(
        self, allowed: tuple[str, ...], net: Net | None = None, caps: Caps | None = None
    ) -> None:
        self._allowed = frozenset(allowed)
        self._rule = refusal.rule(allowed)
        self._net, self._caps = net or Net(), caps or Caps()
        self._resolver = Resolver(self._net)
        self._strangers: dict[asyncio.Task[None], None] = {}
        self._budgets: dict[str, EgressBudget] = {}

    @contextlib.contextmanager
    def admitted(self, token: str) -> Iterator[None]:
        """While an execution runs: serve what comes to the listener with its token."""
        budget = self._budgets[token] = EgressBudget(self._caps)
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
                try:
                    sock, _ = await loop.sock_accept(listener)
                except OSError as error:
                    log.warning("cannot accept a connection of a script: %s", error)
                    await asyncio.sleep(REST_SECS)
                    continue
                self._welcome(connections.create_task(self._serve(sock, None)))
                await asyncio.sleep(0)  # who connects without end must not keep the loop to itself

    async def serve_dials(self, dial: socket.socket) -> None:
        """Answer each byte on ``dial`` with a connected AF_UNIX stream, until the worker ends."""
        dial.setblocking(False)
        loop = asyncio.get_running_loop()
        budget = EgressBudget(self._caps)
        running: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as connections:
            with contextlib.suppress(OSError), _shut(dial):  # gone, or takes no more answers
                while await loop.sock_recv(dial, 1):
                    await asyncio.sleep(0)  # likewise
                    if len(running) >= self._caps.at_once:
                        dial.send(b"-")
                        continue
                    ours, theirs = socket.socketpair()
                    running.add(task := connections.create_task(self._serve(ours, budget)))
                    task.add_done_callback(running.discard)
                    with theirs:
                        socket.send_fds(dial, [b"+"], [theirs.fileno()])

    def _welcome(self, connection: asyncio.Task[None]) -> None:
        """Bound the connections that have shown no token: a script shows its own at once, so it is
        the oldest that goes."""
        if len(self._strangers) >= MAX_STRANGERS:
            oldest = next(iter(self._strangers))
            self._known(oldest)
            oldest.cancel()
        self._strangers[connection] = None
        connection.add_done_callback(self._known)

    def _known(self, connection: asyncio.Task[None] | None) -> None:
        if connection:
            self._strangers.pop(connection, None)

    async def _serve(self, sock: socket.socket, budget: EgressBudget | None) -> None:
        """One connection, from its request to its end; a fault in it harms no other."""
        try:
            with contextlib.closing(await _stream(sock)) as stream:
                await self._answer(HttpEnd(h11.SERVER, stream), budget)
        except _ENDINGS as ended:
            log.debug("a connection ended: %r", ended)
        except Exception:
            log.exception("a connection failed")

    async def _answer(self, script: HttpEnd, budget: EgressBudget | None) -> None:
        target: Target | None = None
        try:
            request = await _head(script)
            budget = budget or self._budget_of(request)
            self._known(asyncio.current_task())
            with budget.connection():
                target = _target(request)
                self._judge(target.host)
                await self._carry(script, request, target, budget)
        except Refused as refused:
            verdict = "failed" if refused.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "refused"
            _audit(verdict, str(target or "-"), refused.reason)
            await refusal.refuse(script, refused, self._rule)

    def _judge(self, host: str) -> None:
        if not is_allowed(host, self._allowed):
            raise Refused(403, f"host {host!r} is not allowed")

    async def _carry(
        self, script: HttpEnd, request: h11.Request, target: Target, budget: EgressBudget
    ) -> None:
        host = await connect(self._net, self._resolver, target, budget.look_ups)
        try:
            if request.method == b"CONNECT":
                await _tunnel(script, host, target, budget)
            else:
                _audit("allowed", str(target))
                await _exchange(script, HttpEnd(h11.CLIENT, host), (request, target), budget)
        finally:
            host.close()

    def _budget_of(self, request: h11.Request) -> EgressBudget:
        budget = self._budgets.get(_token(request.headers))
        if budget is None:
            raise Refused(407, "send the user name and password of HTTPS_PROXY along")
        return budget


async def _stream(sock: socket.socket) -> ByteStream:
    sock.setblocking(False)
    try:
        return ByteStream(*await asyncio.open_connection(sock=sock))
    except BaseException:
        sock.close()
        raise


@contextlib.contextmanager
def _shut(line: socket.socket) -> Iterator[None]:
    """At the end nobody may wait for an answer on ``line``."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)


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


async def _exchange(
    script: HttpEnd, host: HttpEnd, asked: tuple[h11.Request, Target], budget: EgressBudget
) -> None:
    request, target = asked
    headers = request_headers(request.headers, target.host)
    head = h11.Request(method=request.method, target=target.path, headers=headers)
    try:
        await relay.exchange(script, host, head, budget.spend)
    except TimeoutError as error:
        raise Refused(504, f"{target.host} sent nothing for {relay.IDLE_SECS:g} s") from error
    except (OSError, h11.RemoteProtocolError) as error:
        raise Refused(502, f"the exchange with {target.host} broke off: {error}") from error


async def _tunnel(script: HttpEnd, host: ByteStream, target: Target, budget: EgressBudget) -> None:
    try:
        async with asyncio.timeout(HEAD_SECS):
            if not isinstance(await script.next(), h11.EndOfMessage):
                raise Refused(400, "CONNECT has no body")
            await script.send(h11.Response(status_code=200, headers=[], reason=b"Connected"))
            hello = await _hello(script, target.host)
    except tls.NotAClientHello as fault:
        _audit("refused", str(target), str(fault))
        await refusal.refuse_tls(script)
        return
    _audit("allowed", str(target))
    budget.spend(len(hello))
    host.writer.write(hello)
    await relay.tunnel(script.stream, host, budget.spend)


async def _hello(script: HttpEnd, host: str) -> bytes:
    """What came first into a tunnel: a whole ClientHello for ``host``. Raises NotAClientHello."""
    data = bytes(script.http.trailing_data[0])
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


def _audit(verdict: str, where: str, reason: str = "") -> None:
    """One line for each connection. ``where`` and ``reason`` are partly the script's words."""
    fields = {"verdict": verdict, "host": where, "reason": reason}
    log.info("%s %s %s", verdict, where, reason, extra=fields)
