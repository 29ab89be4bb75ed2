"""The egress proxy without a sandbox: its rules as tables, then requests over a real dial line."""

import asyncio
import base64
import ipaddress
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.addresses import is_public
from mcproxy.sandbox.network import tls
from mcproxy.sandbox.network.dialling import (
    SHARE,
    THREADS,
    Caps,
    Net,
    Resolver,
    connect,
    dial,
    look_up,
)
from mcproxy.sandbox.network.egress import MAX_STRANGERS, Egress
from mcproxy.sandbox.network.relay import ByteStream
from mcproxy.sandbox.network.targets import (
    Refused,
    Target,
    connect_target,
    host_name,
    http_target,
    is_allowed,
)
from tests.sandbox.network.origins import NAMES, PUBLIC, Origins, origins

ALLOWED = ("api.github.test", "*.suffix.test")
LONGEST_SECS = 10.0


# Addresses


@pytest.mark.requirement("network.public")
@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254"),
        *("168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
        *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1"),
        *("64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1"),
        *("5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1"),
        *("2606:4700::1111%eth0", "", "localhost", "127.1", "0x7f.1", "2130706433", "8.8.8.8/32"),
    ],
)
def test_no_address_but_a_public_one_is_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "140.82.121.5", "2606:4700::1111"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_what_python_calls_private_is_never_public(address: ipaddress.IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        assert not is_public(str(address))
    assert not is_public(f"::ffff:{address}")
    assert not is_public(str(ipaddress.IPv6Address((0x2002 << 112) | int(address) << 80)))


@given(st.ip_addresses(v=6))
def test_the_same_for_ipv6(address: ipaddress.IPv6Address) -> None:
    if not address.is_global or address.is_multicast:
        assert not is_public(str(address))


@pytest.mark.requirement("network.public")
async def test_the_real_resolver_leads_to_no_private_address() -> None:
    assert "127.0.0.1" in look_up("localhost", 80)
    net = Net()
    with pytest.raises(Refused, match="not public"):
        await connect(net, Resolver(net), Target("localhost", 80), asyncio.Semaphore(1))


async def test_a_real_connection_is_dialled() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream = await dial(*server.getsockname())
        peer, _ = server.accept()
        with peer:
            stream.writer.write(b"x")
            assert await asyncio.to_thread(peer.recv, 1) == b"x"
        stream.close()


# Targets


@pytest.mark.parametrize(
    ("host", "allowed", "expected"),
    [
        ("api.github.test", ALLOWED, True),
        ("github.test", ALLOWED, False),
        ("a.api.github.test", ALLOWED, False),
        ("api.github.test.evil.test", ALLOWED, False),
        ("a.suffix.test", ALLOWED, True),
        ("a.b.suffix.test", ALLOWED, True),
        ("suffix.test", ALLOWED, False),
        ("asuffix.test", ALLOWED, False),
        ("evil.test", ("*",), True),
        ("localhost", ("*",), False),
        ("evil.test", (), False),
    ],
)
def test_which_hosts_an_entry_allows(host: str, allowed: tuple[str, ...], expected: bool) -> None:
    assert is_allowed(host, allowed) is expected


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("api.github.test:443", "api.github.test"),
        ("API.GitHub.Test.:443", "api.github.test"),
        ("xn--bcher-kva.test:443", "xn--bcher-kva.test"),
    ],
)
def test_targets_of_connect(authority: str, host: str) -> None:
    assert connect_target(authority).host == host


@pytest.mark.requirement("network.names")
@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.1", "1.2.3.4."),
        *("[::1]", "[::ffff:127.0.0.1]", "::1", "0x", "a.0x7f", "8.8.8.8"),
        *("user@api.github.test", "", ".", "..", "a..b", "-a.test", "a b.test", "a%2eb.test"),
        *("a_b.test\x00", "x" * 64 + ".test", ".".join(["abc"] * 80), "b\u00fccher.test"),
    ],
)
def test_what_is_no_host_name_is_refused(host: str) -> None:
    with pytest.raises(Refused):
        connect_target(f"{host}:443")
    with pytest.raises(Refused):
        http_target(f"http://{host}/")


@pytest.mark.parametrize(
    "authority", ["api.github.test", "api.github.test:", "a.test:22", "a.test:80", "a.test:0443x"]
)
def test_connect_goes_to_port_443_only(authority: str) -> None:
    with pytest.raises(Refused):
        connect_target(authority)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://api.github.test", "/"),
        ("HTTP://api.github.test:80/a?b=c", "/a?b=c"),
        ("http://api.github.test?b=http://x@y/", "/?b=http://x@y/"),
        ("http://api.github.test:/a", "/a"),
    ],
)
def test_targets_of_plain_http(url: str, path: str) -> None:
    target = http_target(url)
    assert (target.host, target.port, target.path) == ("api.github.test", 80, path)


@pytest.mark.parametrize(
    "url",
    [
        *("/a", "*", "https://a.test/", "ftp://a.test/", "http://a.test:443/", "http://a.test:22/"),
        *("http://a@b.test/", "http://a.test#@b.test/", "http://a.test\\@b.test/", "http:///a"),
        *("http://a.test:80:80/", "http://a.test:+80/", "http://a.test:\u0668\u0660/"),
    ],
)
def test_other_targets_of_plain_http_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        http_target(url)


@given(st.text(max_size=40))
def test_a_host_name_is_plain_whatever_is_asked(text: str) -> None:
    try:
        host = host_name(text)
    except Refused:
        return
    assert host.isascii()
    assert host_name(host) == host
    assert not set(host) & set(":/@[]%?# \r\n")


# ClientHello


def client_hello(host: str | None) -> bytes:
    """What OpenSSL sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it verifies nothing: no need to load whom
    context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=host)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


HELLO = client_hello("api.github.test")


def records(message: bytes, sizes: Iterable[int]) -> bytes:
    """A handshake message spread over records of the given sizes, the last takes the rest."""
    parts = []
    for size in sizes:
        parts.append(message[:size])
        message = message[size:]
    parts.append(message)
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2) + part for part in parts if part)


def hello_with(*extensions: tuple[int, bytes]) -> bytes:
    block = b"".join(kind.to_bytes(2) + len(v).to_bytes(2) + v for kind, v in extensions)
    body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    body += len(block).to_bytes(2) + block
    return records(b"\x01" + len(body).to_bytes(3) + body, [])


def names(*hosts: bytes, kind: int = 0) -> tuple[int, bytes]:
    listed = b"".join(bytes([kind]) + len(host).to_bytes(2) + host for host in hosts)
    return 0, len(listed).to_bytes(2) + listed


def test_the_server_name_is_read() -> None:
    assert tls.server_name(HELLO) == "api.github.test"
    assert tls.server_name(hello_with((1, b"x"), names(b"a.test"))) == "a.test"


@pytest.mark.requirement("network.sni")
@given(st.lists(st.integers(1, 400), max_size=30), st.data())
def test_fragments_are_put_together(sizes: list[int], data: st.DataObject) -> None:
    spread = records(HELLO[5:], sizes)
    assert tls.server_name(spread) == "api.github.test"
    end = data.draw(st.integers(0, len(spread) - 1))
    assert tls.server_name(spread[:end]) is None


@pytest.mark.requirement("network.sni")
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"GET / HTTP/1.1\r\n", "not TLS"),
        (b"SSH-2.0-OpenSSH", "not TLS"),
        (b"\x80\x2e\x01\x03\x01", "not TLS"),
        (b"\x16\x02\x00\x00\x05", "not TLS"),
        (b"\x16\x03\x01\x00\x00", "impossible"),
        (b"\x16\x03\x01\xff\xff", "impossible"),
        (b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", "no ClientHello"),
        (b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\x00", "too long"),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "malformed"),
        (HELLO[:3] + (len(HELLO) - 4).to_bytes(2) + HELLO[5:] + b"x", "more follows"),
        (hello_with(), "names no server"),
        (hello_with(names()), "several"),
        (hello_with(names(b"a.test", b"b.test")), "several"),
        (hello_with(names(b"a.test"), names(b"a.test")), "repeats"),
        (hello_with(names(b"a.test", kind=1)), "no host name"),
        (hello_with(names("\u00fc.test".encode())), "no host name"),
        (hello_with(names(b"a.test"), (0xFE0D, b"")), "encrypted"),
        (client_hello(None), "names no server"),
    ],
)
def test_what_is_no_acceptable_client_hello(data: bytes, says: str) -> None:
    with pytest.raises(tls.NotAClientHello, match=says):
        tls.server_name(data)


@given(st.binary(max_size=300), st.integers(0, len(HELLO)), st.integers(0, len(HELLO)))
def test_no_bytes_upset_the_parser(noise: bytes, start: int, end: int) -> None:
    for data in (noise, HELLO[:start] + noise + HELLO[end:]):
        try:
            name = tls.server_name(data)
        except tls.NotAClientHello:
            continue
        assert name is None or name.isascii()


# Requests


class Line:
    """A worker's end of a dial line."""

    def __init__(self, dial: socket.socket) -> None:
        self._dial = dial

    async def open(self) -> ByteStream:
        self._dial.sendall(b"?")
        _, fds, _, _ = await asyncio.to_thread(socket.recv_fds, self._dial, 1, 1)
        if not fds:
            raise ConnectionRefusedError
        sock = socket.socket(fileno=fds[0])
        sock.setblocking(False)
        return ByteStream(*await asyncio.open_connection(sock=sock))

    async def ask(self, request: bytes) -> bytes:
        """Send it and read to the end."""
        stream = await self.open()
        try:
            stream.writer.write(request)
            return await stream.reader.read()
        finally:
            stream.close()


@pytest.fixture
async def outside(tmp_path: Path) -> AsyncIterator[Origins]:
    async with origins(tmp_path) as made:
        yield made


@asynccontextmanager
async def line(
    outside: Origins, allowed: tuple[str, ...] = ALLOWED, caps: Caps | None = None
) -> AsyncIterator[Line]:
    async with dialling(Egress(allowed, outside.net, caps)) as dials:
        yield dials


@asynccontextmanager
async def dialling(egress: Egress) -> AsyncIterator[Line]:
    ours, theirs = socket.socketpair()
    ours.settimeout(LONGEST_SECS)
    with ours, theirs:
        async with asyncio.timeout(LONGEST_SECS), asyncio.TaskGroup() as group:
            serving = group.create_task(egress.serve_dials(theirs))
            yield Line(ours)
            serving.cancel()


def get(url: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {url} HTTP/1.1", "Host: ignored.test", *headers, "", ""]).encode()


@pytest.mark.requirement("network.refused")
@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        (get("http://evil.test/"), 403, "sandbox.network.allowed_hosts"),
        (get("http://api.github.test.evil.test/"), 403, "is not allowed"),
        (get("http://api.github.test@evil.test/"), 403, "user name"),
        (get("http://suffix.test/"), 403, "Allowed are api.github.test, *.suffix.test"),
        (get("http://127.0.0.1/"), 403, "IP address"),
        (get("http://2130706433/"), 403, "IP address"),
        (get("http://[::1]/"), 403, "IP address"),
        (get("http://169.254.169.254/latest/meta-data/"), 403, "IP address"),
        (get("http://api.github.test:8080/"), 403, "port 8080"),
        (get("/"), 400, "absolute URLs"),
        (b"CONNECT evil.test:443 HTTP/1.1\r\nHost: a\r\n\r\n", 403, "is not allowed"),
        (b"CONNECT [::1]:443 HTTP/1.1\r\nHost: a\r\n\r\n", 403, "IP address"),
        (b"CONNECT api.github.test:22 HTTP/1.1\r\nHost: a\r\n\r\n", 403, "port 22"),
        (b"CONNECT api.github.test:80 HTTP/1.1\r\nHost: a\r\n\r\n", 403, "port 80"),
        (b"HEAD http://evil.test/ HTTP/1.1\r\nHost: a\r\n\r\n", 403, "is not allowed"),
        (b"POST http://evil.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 403, "not"),
        (
            b"POST http://api.github.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "either",
        ),
        (b"\x16\x03\x01\x00\x05hello\r\n\r\n", 400, "not a request"),
        (b"GET http://api.github.test/ HTTP/1.1\r\nX: " + b"x" * 70000, 431, "not a request"),
        (get("http://raw.suffix.test/"), 403, "not public"),
        (get("http://mixed.suffix.test/"), 403, "not public"),
        (get("http://mapped.suffix.test/"), 403, "not public"),
        (get("http://none.suffix.test/"), 502, "no address"),
        (get("http://unknown.suffix.test/"), 502, "cannot resolve"),
    ],
)
async def test_refusals_say_why_and_reach_nobody(
    outside: Origins, request_: bytes, status: int, says: str
) -> None:
    outside.addresses |= {
        "raw.suffix.test": ("127.0.0.1",),
        "mixed.suffix.test": (PUBLIC, "169.254.169.254"),
        "mapped.suffix.test": ("::ffff:10.0.0.1",),
        "none.suffix.test": (),
    }
    async with line(outside) as dials:
        answer = await dials.ask(request_)
    head = answer.partition(b"\r\n")[0].decode()
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert says in head
    assert not outside.dialled


async def test_a_refusal_is_heard_by_who_still_sends(outside: Origins) -> None:
    head = b"POST http://evil.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    async with line(outside) as dials:
        answer = await dials.ask(head + b"x" * 1_000_000)
    assert answer.startswith(b"HTTP/1.1 403 host 'evil.test' is not allowed")


async def test_a_name_is_resolved_once_and_the_checked_address_is_dialled(
    outside: Origins,
) -> None:
    async with line(outside) as dials:
        assert b"200" in await dials.ask(get("http://api.github.test/"))
        outside.addresses["api.github.test"] = ("127.0.0.1",)
        assert b"not public" in await dials.ask(get("http://api.github.test/"))
    assert outside.dialled == [(PUBLIC, 80)]


@pytest.mark.requirement("network.http")
async def test_the_host_is_told_by_its_true_name_and_nothing_of_the_proxy(outside: Origins) -> None:
    private = ("Proxy-Authorization: Basic eDp5", "Connection: close, X-Hop", "X-Hop: 1", "X-A: 2")
    async with line(outside) as dials:
        await dials.ask(get("http://API.github.test/a?b", *private))
    (seen,) = outside.seen
    headers = dict(seen.headers)
    assert seen.target == b"/a?b"
    assert headers[b"host"] == b"api.github.test"
    assert headers[b"x-a"] == b"2"
    assert not {b"proxy-authorization", b"x-hop"} & set(headers)


@pytest.mark.requirement("network.http")
@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
async def test_bodies_arrive_and_a_second_request_does_not(outside: Origins, body: bytes) -> None:
    smuggled = get("http://evil.test/")
    async with line(outside) as dials:
        head = b"POST http://api.github.test/ HTTP/1.1\r\nHost: a\r\n"
        answer = await dials.ask(head + body + smuggled)
    assert b'"body": "hello"' in answer
    assert b"connection: close" in answer.lower()
    assert answer.count(b"HTTP/1.1 200") == 1
    assert len(outside.seen) == 1


async def test_a_host_that_answers_nonsense_is_a_502(outside: Origins) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"nonsense\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(nonsense, "127.0.0.1", 0) as server:
        outside.ports = {80: server.sockets[0].getsockname()[1]}
        async with line(outside) as dials:
            answer = await dials.ask(get("http://api.github.test/"))
    assert answer.startswith(b"HTTP/1.1 502 the exchange with api.github.test broke off")


async def test_a_host_that_does_not_answer_is_a_502(outside: Origins) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        outside.ports = {80: closed.getsockname()[1]}
    async with line(outside) as dials:
        answer = await dials.ask(get("http://api.github.test/"))
    assert answer.startswith(b"HTTP/1.1 502 cannot connect to api.github.test")


CONNECT = b"CONNECT api.github.test:443 HTTP/1.1\r\nHost: api.github.test\r\n\r\n"


@pytest.mark.requirement("network.sni")
@pytest.mark.parametrize(
    "first", [client_hello("evil.test"), client_hello(None), b"GET / HTTP/1.1\r\n\r\n", b"\x00"]
)
async def test_a_tunnel_carries_tls_to_its_host_only(
    outside: Origins, first: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mcproxy.egress")
    async with line(outside) as dials:
        answer = await dials.ask(CONNECT + first)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert rest == bytes((21, 3, 3, 0, 2, 2, 49))  # TLS: access denied
    assert not outside.seen
    assert [record.getMessage().split()[:2] for record in caplog.records] == [
        ["refused", "api.github.test:443"]
    ]


async def test_a_tunnel_carries_a_fragmented_client_hello(outside: Origins) -> None:
    async with line(outside) as dials:
        stream = await dials.open()
        stream.writer.write(CONNECT)
        await stream.reader.readuntil(b"\r\n\r\n")
        spread = records(HELLO[5:], [1, 2, 3, 100])
        for at in range(0, len(spread), 50):
            stream.writer.write(spread[at : at + 50])
            await stream.writer.drain()
        assert (await stream.reader.readexactly(1)) == b"\x16"  # the server's handshake
        stream.close()


@pytest.mark.requirement("network.caps")
async def test_an_execution_has_so_many_connections(outside: Origins) -> None:
    async with line(outside, caps=Caps(connections=2)) as dials:
        answers = [await dials.ask(get("http://api.github.test/")) for _ in range(3)]
    assert [answer.split()[1] for answer in answers] == [b"200", b"200", b"429"]
    assert b"2 connections" in answers[2]


@pytest.mark.requirement("network.caps")
async def test_an_execution_has_so_many_connections_at_once(outside: Origins) -> None:
    async with line(outside, caps=Caps(at_once=1)) as dials:
        stream = await dials.open()
        with pytest.raises(ConnectionRefusedError):
            await dials.open()
        stream.close()


@pytest.mark.requirement("network.caps")
async def test_an_execution_moves_so_many_bytes(outside: Origins) -> None:
    async with line(outside, caps=Caps(moved_bytes=100_000)) as dials:
        whole = await dials.ask(get("http://api.github.test/big?50000"))
        cut = await dials.ask(get("http://api.github.test/big?100000"))
    assert len(whole) > 50_000
    assert len(cut) < 100_000


@pytest.mark.requirement("network.caps")
async def test_connections_end_with_their_execution(outside: Origins) -> None:
    async with line(outside) as dials:
        stream = await dials.open()
        stream.writer.write(get("http://hang.suffix.test/hang"))
        await outside.arrived.wait()
    assert await stream.reader.read() == b""
    stream.close()


@pytest.mark.requirement("network.caps")
async def test_at_a_shared_listener_too(outside: Origins) -> None:
    egress = Egress(ALLOWED, outside.net)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with asyncio.timeout(LONGEST_SECS), asyncio.TaskGroup() as group:
            serving = group.create_task(egress.serve_listener(listener))
            with egress.admitted("token"):
                stream = ByteStream(*await asyncio.open_connection(*listener.getsockname()))
                login = base64.b64encode(b"script:token").decode()
                authorization = f"Proxy-Authorization: Basic {login}"
                stream.writer.write(get("http://hang.suffix.test/hang", authorization))
                await outside.arrived.wait()
            assert await stream.reader.read() == b""
            stream.close()
            serving.cancel()


@pytest.mark.requirement("network.strangers")
async def test_who_shows_no_token_keeps_nobody_out(outside: Origins) -> None:
    egress = Egress(ALLOWED, outside.net)
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        async with asyncio.timeout(LONGEST_SECS), asyncio.TaskGroup() as group:
            serving = group.create_task(egress.serve_listener(listener))
            address = listener.getsockname()
            silent = [
                ByteStream(*await asyncio.open_connection(*address))
                for _ in range(3 * MAX_STRANGERS)
            ]
            with egress.admitted("token"):
                stream = ByteStream(*await asyncio.open_connection(*address))
                login = base64.b64encode(b"script:token").decode()
                head = get("http://api.github.test/", f"Proxy-Authorization: Basic {login}")
                stream.writer.write(head)
                assert (await stream.reader.read()).startswith(b"HTTP/1.1 200")
                stream.close()
            for oldest in silent[: 2 * MAX_STRANGERS]:
                assert await oldest.reader.read() == b""  # closed: others came after it
            for each in silent:
                each.close()
            serving.cancel()


@pytest.mark.requirement("network.look_ups")
async def test_names_that_never_resolve_keep_only_their_own_script_waiting(
    outside: Origins,
) -> None:
    begun, end = threading.Semaphore(0), threading.Event()
    at_once: list[str] = []

    def look_up(host: str, port: int) -> Sequence[str]:
        if host in NAMES:
            return outside.addresses[host]
        at_once.append(host)
        begun.release()
        end.wait(LONGEST_SECS)
        raise OSError("no such name")

    egress = Egress(ALLOWED, Net(look_up, outside.net.dial))
    async with dialling(egress) as greedy, dialling(egress) as modest:
        try:
            streams = [await greedy.open() for _ in range(3 * THREADS)]
            for number, stream in enumerate(streams):
                stream.writer.write(get(f"http://slow{number}.suffix.test/"))
            for _ in range(SHARE):
                await asyncio.to_thread(begun.acquire)
            for _ in range(5):
                assert b"200" in await modest.ask(get("http://api.github.test/"))
            assert len(at_once) == SHARE
        finally:
            end.set()
        for stream in streams:
            stream.close()


async def test_a_script_that_goes_away_ends_its_exchange(outside: Origins) -> None:
    async with line(outside) as dials:
        stream = await dials.open()
        stream.writer.write(get("http://hang.suffix.test/hang"))
        await outside.arrived.wait()
        stream.close()
        await outside.left.wait()


@pytest.mark.requirement("network.audit")
async def test_each_connection_leaves_a_line_in_the_log(
    outside: Origins, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mcproxy.egress")
    async with line(outside) as dials:
        for url in ("http://api.github.test/", "http://evil.test/", "http://a.suffix.test/"):
            await dials.ask(get(url))
    found = [record.getMessage() for record in caplog.records]
    assert found[0].startswith("allowed api.github.test:80")
    assert found[1].startswith("refused evil.test:80 host 'evil.test' is not allowed")
    assert found[2].startswith("failed a.suffix.test:80 cannot resolve")
