"""The network as scripts see it, with each way to the proxy: a listener (strict), a dial line
(hardened)."""

import asyncio
import json
import sysconfig
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from msgspec.structs import replace

from mcproxy.sandbox.network.dialling import Caps
from mcproxy.sandbox.network.egress import Egress
from mcproxy.sandbox.pool import Pool
from mcproxy.sandbox.profile import Profile
from mcproxy.types import Job, Json, Level, Limits, Outcome
from tests.sandbox.network.origins import PUBLIC, Origins, origins
from tests.sandbox.walls import at, echo, started

LIMITS = Limits(timeout_secs=20, memory_mb=128)
ALLOWED = ("api.github.test", "*.suffix.test")

at_each_level = pytest.mark.parametrize("level", ["strict", "hardened"])


@dataclass(frozen=True)
class World:
    """A pool with a network, and the outside of it."""

    pool: Pool
    outside: Origins

    async def run(self, source: str, limits: Limits = LIMITS) -> Outcome:
        """``CA`` is the path of the certificate that the outside's hosts are to be checked by."""
        given = f"CA = {str(self.outside.certificate)!r}\n"
        return await self.pool.run(Job(given + source, limits), echo)


@asynccontextmanager
async def world_at(
    level: Level, folder: Path, allowed: tuple[str, ...] = ALLOWED, caps: Caps | None = None
) -> AsyncIterator[World]:
    for place in [folder, *folder.parents]:
        if place.is_relative_to("/tmp/"):
            place.chmod(place.stat().st_mode | 0o711)
    settings = replace(at(level), package_path=(sysconfig.get_path("purelib"),))
    async with origins(folder) as outside:
        profile = Profile(LIMITS, allowed, read_only=(str(outside.certificate),))
        pool = Pool(
            settings, {"": profile}, lambda one: Egress(one.allowed_hosts, outside.net, caps)
        )
        async with pool:
            report = await started(pool)
            assert report.guarantees["network"].startswith("enforced:")
            yield World(pool, outside)


@pytest.fixture(scope="module", params=["strict", "hardened"])
async def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    async with world_at(request.param, tmp_path_factory.mktemp("network")) as world:
        yield world


@pytest.fixture
def world(shared: World) -> World:
    """At each level, one for all tests that want nothing special; it has seen nothing yet."""
    shared.outside.forget()
    return shared


LIBRARIES = {
    "urllib http": """
import urllib.request
result = json.load(urllib.request.urlopen("http://api.github.test/a?b"))["path"]
""",
    "urllib https": """
import ssl, urllib.request
trusted = ssl.create_default_context(cafile=CA)
result = json.load(urllib.request.urlopen("https://api.github.test/a?b", context=trusted))["path"]
""",
    "requests": """
import requests
result = requests.get("https://api.github.test/a?b", verify=CA).json()["path"]
""",
    "requests, a session and a body": """
import requests
with requests.Session() as session:
    session.verify = CA
    sent = [session.post("https://raw.suffix.test/a?b", data=b"x" * 300_000) for _ in range(3)]
assert all(len(answer.json()["body"]) == 300_000 for answer in sent)
result = sent[0].json()["path"]
""",
    "httpx": """
import httpx
result = httpx.get("https://api.github.test/a?b", verify=CA).json()["path"]
""",
    "httpx plain, a streamed body": """
import httpx
answer = httpx.post("http://api.github.test/a?b", content=(b"x" * 1000 for _ in range(100))).json()
assert len(answer["body"]) == 100_000
result = answer["path"]
""",
    "httpx async, at once": """
import httpx
async def run():
    async with httpx.AsyncClient(verify=CA) as client:
        urls = [f"https://api.github.test/{n}" for n in range(12)]
        found = await asyncio.gather(*(client.get(url) for url in [*urls, urls[0][:-1] + "a?b"]))
    assert [one.json()["path"] for one in found[:2]] == ["/0", "/1"]
    return found[-1].json()["path"]
""",
    "httpx in threads": """
import httpx
from concurrent.futures import ThreadPoolExecutor
with httpx.Client(verify=CA) as client, ThreadPoolExecutor(4) as threads:
    found = list(threads.map(client.get, ["https://api.github.test/a?b"] * 8))
result = {one.json()["path"] for one in found}.pop()
""",
    "asyncio streams": """
import base64, os, ssl, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
login = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
reader, writer = await asyncio.open_connection(proxy.hostname, proxy.port)
head = ["CONNECT api.github.test:443 HTTP/1.1", "Host: a", f"Proxy-Authorization: Basic {login}"]
writer.write("\\r\\n".join([*head, "", ""]).encode())
await reader.readuntil(b"\\r\\n\\r\\n")
await writer.start_tls(ssl.create_default_context(cafile=CA), server_hostname="api.github.test")
writer.write(b"GET /a?b HTTP/1.1\\r\\nHost: api.github.test\\r\\nConnection: close\\r\\n\\r\\n")
result = json.loads((await reader.read()).partition(b"\\r\\n\\r\\n")[2])["path"]
writer.close()
""",
}


@pytest.mark.requirement("network.libraries")
async def test_libraries_work_unmodified(world: World) -> None:
    for name, source in LIBRARIES.items():
        if name.startswith("requests") and find_spec("requests") is None:
            continue  # the gateway itself does without
        outcome = await world.run("import json\n" + source)
        assert (name, outcome.error, outcome.value) == (name, None, "/a?b")
    assert {address for address, _ in world.outside.dialled} == {PUBLIC}


TRY = """
import httpx, time, urllib.request
def attempt(url, **options):
    started = time.monotonic()
    try:
        answer = httpx.get(url, verify=CA, follow_redirects=True, timeout=5, **options)
        told = f"{answer.status_code} {answer.text}"
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
    return [told, time.monotonic() - started < 1]
"""
REFUSED = {
    "https://evil.test/": "403 host 'evil.test' is not allowed",
    "http://evil.test/": "sandbox.network.allowed_hosts",
    "https://api.github.test.evil.test/": "is not allowed",
    "https://api.github.test@evil.test/": "host 'evil.test' is not allowed",
    "http://127.0.0.1:8000/": "403",
    "https://127.0.0.1/": "IP address",
    "http://2130706433/": "IP address",
    "http://[::1]/": "IP address",
    "http://169.254.169.254/latest/meta-data/": "IP address",
    "https://api.github.test:22/": "port 22",
    "http://api.github.test:8080/": "port 8080",
    "http://api.github.test/redirect?http://evil.test/": "host 'evil.test' is not allowed",
    "http://api.github.test/redirect?http://169.254.169.254/": "IP address",
    "http://api.github.test/redirect?http://127.0.0.1/": "IP address",
    "https://private.suffix.test/": "not public",
    "https://mixed.suffix.test/": "not public",
    "https://mapped.suffix.test/": "not public",
}


@pytest.mark.requirement("network.refused")
async def test_everything_else_is_refused_within_a_second(world: World) -> None:
    world.outside.addresses |= {
        "private.suffix.test": ("127.0.0.1",),
        "mixed.suffix.test": (PUBLIC, "169.254.169.254"),
        "mapped.suffix.test": ("::ffff:10.0.0.1",),
    }
    urls = json.dumps(list(REFUSED))
    outcome = await world.run(f"{TRY}\nresult = [attempt(url) for url in {urls}]")
    assert outcome.error is None
    assert isinstance(outcome.value, list)
    for (url, says), found in zip(REFUSED.items(), outcome.value, strict=True):
        assert isinstance(found, list)
        assert says in str(found[0]), url
        assert found[1], f"{url} took more than a second"
    assert {request.target for request in world.outside.seen} == {
        url.partition("test")[2].encode() for url in REFUSED if "redirect" in url
    }


WAYS_AROUND = r"""
import ctypes, os, socket
def attempt(what):
    try:
        what()
    except (OSError, TypeError):
        return "refused"
    return "open"
import _socket
libc = ctypes.CDLL(None, use_errno=True)
address = ("127.0.0.1", %d)
def direct():
    _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM).connect(address)
def by_libc():
    sock = libc.socket(2, 1, 0)
    to = b"".join([b"\2\0", address[1].to_bytes(2, "big"), b"\x7f\0\0\1", bytes(8)])
    if sock < 0 or libc.connect(sock, to, 16) < 0:
        raise OSError(ctypes.get_errno(), "refused")
def proxy_to_anywhere():
    with socket.create_connection(("127.0.0.1", 3128), 2) as sock:
        _socket.socket.connect(sock, address)
result = {
    "a connection": attempt(lambda: socket.create_connection(address, 2)),
    "below the library": attempt(direct),
    "through libc": attempt(by_libc),
    "a connected one anew": attempt(proxy_to_anywhere),
    "a name": attempt(lambda: socket.getaddrinfo("api.github.test", 443)),
    "udp": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)),
    "ipv6": attempt(lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM)),
    "unix": attempt(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)),
    "netlink": attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
    "packet": attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
    "vsock": attempt(lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)),
    "a server": attempt(lambda: socket.create_server(("127.0.0.1", 8000))),
    "an unchecked client": attempt(lambda: socket.create_connection(("8.8.8.8", 53), 2)),
}
"""


@pytest.mark.requirement("network.only-way")
async def test_there_is_no_way_around_the_proxy(world: World) -> None:
    outcome = await world.run(WAYS_AROUND % world.outside.ports[80])
    assert outcome.error is None
    assert isinstance(outcome.value, dict)
    assert {way for way, found in outcome.value.items() if found != "refused"} == set()
    assert not world.outside.seen


@at_each_level
async def test_every_public_host_is_still_no_private_one(level: Level, tmp_path: Path) -> None:
    async with world_at(level, tmp_path, allowed=("*",)) as world:
        world.outside.addresses["rebound.test"] = ("10.0.0.1",)
        source = TRY + 'result = [attempt(f"https://{host}/")[0] for host in '
        outcome = await world.run(source + '("api.github.test", "rebound.test", "localhost")]')
        assert isinstance(outcome.value, list)
        works, private, local = map(str, outcome.value)
        assert works.startswith("200")
        assert "not public" in private
        assert "not allowed" in local


@pytest.mark.requirement("network.caps")
@at_each_level
async def test_caps_are_those_of_one_execution(level: Level, tmp_path: Path) -> None:
    source = TRY + "result = [attempt('http://api.github.test/')[0][:3] for _ in range(3)]"
    async with world_at(level, tmp_path, caps=Caps(connections=2)) as world:
        for _ in range(2):
            assert (await world.run(source)).value == ["200", "200", "429"]


@pytest.mark.requirement("network.caps")
async def test_connections_end_with_their_execution(world: World) -> None:
    source = TRY + "attempt('http://hang.suffix.test/hang')"
    outcome = await world.run(source, replace(LIMITS, timeout_secs=1))
    assert outcome.error
    assert outcome.error.type == "Timeout"
    async with asyncio.timeout(5):
        await world.outside.left.wait()


async def test_sockets_that_may_not_wait_do_not(world: World) -> None:
    source = """
import select, socket
with socket.socket() as connection:
    connection.setblocking(False)
    connection.connect_ex(("127.0.0.1", 3128))
    select.select([], [connection], [])
    try:
        connection.recv(1)
    except BlockingIOError:
        result = "nothing yet"
"""
    assert (await world.run(source)).value == "nothing yet"


async def test_a_listener_serves_who_shows_the_token_of_a_running_script(tmp_path: Path) -> None:
    source = """
import os, urllib.request
def attempt(login):
    proxy = urllib.request.ProxyHandler({"http": f"http://{login}127.0.0.1:3128"})
    try:
        return urllib.request.build_opener(proxy).open("http://api.github.test/").status
    except urllib.error.HTTPError as error:
        return error.code
own = os.environ["HTTP_PROXY"].removeprefix("http://").partition("@")[0] + "@"
result = [attempt(own), attempt(""), attempt("script:guessed@"), own]
"""
    async with world_at("strict", tmp_path) as world:
        first, second = [(await world.run(source)).value for _ in range(2)]
        assert isinstance(first, list)
        assert isinstance(second, list)
        assert first[:3] == [200, 407, 407]
        assert first[3] != second[3]
        again: Json = (await world.run(source.replace('""', repr(first[3])))).value
        assert isinstance(again, list)
        assert again[1] == 407


@at_each_level
async def test_without_allowed_hosts_there_is_no_network(level: Level, tmp_path: Path) -> None:
    async with world_at(level, tmp_path, allowed=()) as world:
        outcome = await world.run(
            "import os\nresult = [n for n in os.environ if 'PROXY' in n.upper()]"
        )
        assert outcome.value == []
        refused = await world.run(
            "import urllib.request\nurllib.request.urlopen('http://api.github.test/')"
        )
        assert refused.error
        assert refused.error.type == "URLError"
