"""What a request may say of where it comes from and where it goes: the whole of it, in a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.config.hosts import origin as configured
from mcproxy.config.hosts import served_host
from mcproxy.policy.origins import Arrival, OriginVerdict, bind_to, judge, origin_allowed
from mcproxy.types import Caller

NAMED = ("mcp.example.org", "192.168.1.9")

# The Origin that comes with a request for this Host: is it taken for one of the gateway's own
# pages (yes), for a foreign one (no), or is the Host refused, whatever page it is (host)? Where the
# gateway listens is the heading: on this machine only, on every address, on one, on every one with
# NAMED in allowed_hosts. "-": no such header.
_TABLE = """
Host                    Origin                             127.0.0.1 ::1  0.0.0.0 192.168.1.5 NAMED
127.0.0.1:12010         -                                  yes       yes  yes     yes         yes
127.0.0.1:12010         http://127.0.0.1:12010             yes       yes  yes     yes         yes
127.0.0.1:12010         http://localhost:5173              yes       yes  no      no          no
127.0.0.1:12010         https://localhost                  yes       yes  no      no          no
127.0.0.1:12010         http://[::1]:3000                  yes       yes  no      no          no
127.0.0.1:12010         HTTP://LOCALHOST.:3000             yes       yes  no      no          no
127.0.0.1:12010         https://evil.example               no        no   no      no          no
127.0.0.1:12010         https://localhost.evil.example     no        no   no      no          no
127.0.0.1:12010         https://127.0.0.1.evil.example     no        no   no      no          no
127.0.0.1:12010         http://localhost@evil.example      no        no   no      no          no
127.0.0.1:12010         http://evil.example@localhost      no        no   no      no          no
127.0.0.1:12010         http://localhost/                  no        no   no      no          no
127.0.0.1:12010         http://127.1                       no        no   no      no          no
127.0.0.1:12010         http://0.0.0.0:12010               no        no   no      no          no
127.0.0.1:12010         null                               no        no   no      no          no
127.0.0.1:12010         file://                            no        no   no      no          no
127.0.0.1:12010         localhost                          no        no   no      no          no
127.0.0.1:12010         chrome-extension://abcdefghijkl    no        no   no      no          no
127.0.0.1:12010         evil://localhost                   no        no   no      no          no
127.0.0.1:12010         http://localhost,http://localhost  no        no   no      no          no
LOCALHOST.:80           http://localhost                   yes       yes  yes     yes         yes
[::1]:12010             http://[0:0:0:0:0:0:0:1]:12010     yes       yes  yes     yes         yes
[::ffff:127.0.0.1]      http://127.0.0.1                   yes       yes  yes     yes         yes
127.0.0.1               https://127.0.0.1                  yes       yes  yes     yes         yes
192.168.1.5:12010       -                                  host      host yes     yes         yes
192.168.1.5:12010       http://192.168.1.5:12010           host      host yes     yes         yes
192.168.1.5:12010       http://192.168.1.5:3000            host      host no      no          no
192.168.1.5:12010       http://192.168.1.5                 host      host no      no          no
192.168.1.5:12010       http://192.168.1.50:12010          host      host no      no          no
192.168.1.5:12010       http://localhost:12010             host      host no      no          no
192.168.1.9:80          http://192.168.1.9                 host      host yes     yes         yes
10.0.0.1:80             http://10.0.0.1                    host      host yes     yes         host
mcp.example.org         -                                  host      host yes     yes         yes
mcp.example.org         https://mcp.example.org            host      host no      no          yes
mcp.example.org:443     https://MCP.example.org.           host      host no      no          yes
mcp.example.org.        https://mcp.example.org:443        host      host no      no          yes
mcp.example.org         https://mcp.example.org:8443       host      host no      no          no
mcp.example.org         https://app.mcp.example.org        host      host no      no          no
mcp.example.org         https://evil.example               host      host no      no          no
evil.example:12010      -                                  host      host yes     yes         host
evil.example:12010      http://evil.example:12010          host      host no      no          host
evil.example:12010      http://localhost:12010             host      host no      no          host
x.mcp.example.org       -                                  host      host yes     yes         host
mcp.example.org.evil    -                                  host      host yes     yes         host
evil@localhost          -                                  host      host yes     yes         host
localhost/evil          -                                  host      host yes     yes         host
localhost:x             -                                  host      host yes     yes         host
http://localhost        -                                  host      host yes     yes         host
localhost,evil.example  -                                  host      host yes     yes         host
127.1                   -                                  host      host yes     yes         host
0.0.0.0:12010           http://0.0.0.0:12010               host      host yes     yes         yes
bücher.example        http://bücher.example            host      host no      no          host
-                       -                                  yes       yes  yes     yes         yes
-                       http://localhost:5173              yes       yes  no      no          no
-                       https://evil.example               no        no   no      no          no
"""
_HEADING, *_ROWS = (line.split() for line in _TABLE.strip().splitlines())
CASES = [
    pytest.param(bind, host, origin, expected, id=f"{bind} {host} {origin}")
    for host, origin, *row in _ROWS
    for bind, expected in zip(_HEADING[2:], row, strict=True)
]


def verdict(bind: str, host: str, origin: str | None, peer: str = "127.0.0.1") -> OriginVerdict:
    allowed = frozenset(map(served_host, NAMED)) if bind == "NAMED" else frozenset[str]()
    reached = {"127.0.0.1": bind, "::1": bind}.get(bind, "192.168.1.5")
    listens = bind_to("0.0.0.0" if bind == "NAMED" else bind)
    return judge(Arrival(host, origin, peer, reached), listens, allowed)


@pytest.mark.requirement("http.origins")
@pytest.mark.requirement("http.rebinding")
@pytest.mark.parametrize(("bind", "host", "origin", "expected"), CASES)
def test_whose_page_sends_a_request(bind: str, host: str, origin: str, expected: str) -> None:
    found = verdict(bind, "" if host == "-" else host, None if origin == "-" else origin)
    told = "host" if found.refusal else "no" if found.foreign else "yes"
    assert told == expected
    assert found.base is None or f"//{host}" in found.base


@pytest.mark.requirement("http.rebinding")
@given(st.text(), st.text(), st.sampled_from(["127.0.0.1", "::1", "0.0.0.0", "NAMED"]))
def test_no_other_header_passes(host: str, origin: str, bind: str) -> None:
    found = verdict(bind, host, f"https://{origin}")
    if "localhost" not in origin.lower() and host.lower().removesuffix(".") not in origin.lower():
        assert found.refusal or found.foreign


# From where a request was sent, what a proxy left in it, and what is made of that.
SENT: dict[str, tuple[Arrival, bool, str]] = {
    "from this machine": (Arrival("127.0.0.1:1", peer="127.0.0.1"), True, "http://127.0.0.1:1"),
    "from ::1": (Arrival("[::1]:1", peer="::1"), True, "http://[::1]:1"),
    "from another": (Arrival("127.0.0.1:1", peer="192.168.1.7"), False, "http://127.0.0.1:1"),
    "through a proxy here": (
        Arrival("127.0.0.1:1", peer="127.0.0.1", forwarded=True, forwarded_scheme="https"),
        False,
        "https://127.0.0.1:1",
    ),
    "through a proxy elsewhere": (
        Arrival("127.0.0.1:1", peer="192.168.1.7", forwarded=True, forwarded_scheme="https"),
        False,
        "http://127.0.0.1:1",
    ),
    "through a proxy that says odd things": (
        Arrival("127.0.0.1:1", peer="127.0.0.1", forwarded=True, forwarded_scheme="https://evil/"),
        False,
        "http://127.0.0.1:1",
    ),
}


@pytest.mark.requirement("http.forwarded")
@pytest.mark.parametrize("title", SENT)
def test_from_where_a_request_was_sent(title: str) -> None:
    arrival, local, base = SENT[title]
    found = judge(arrival, bind_to("127.0.0.1"))
    assert (found.local, found.base) == (local, base)


@pytest.mark.requirement("http.forwarded")
@pytest.mark.parametrize(
    ("peer", "named", "sender"),
    [
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("::1", "10.0.0.1, 203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "[2001:DB8::7]", "2001:db8::7"),
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("192.168.1.7", "203.0.113.7", "192.168.1.7"),
    ],
)
def test_who_counts_as_the_sender(peer: str, named: str, sender: str) -> None:
    arrival = Arrival("127.0.0.1", peer=peer, forwarded=bool(named), forwarded_for=named)
    assert judge(arrival, bind_to("127.0.0.1")).sender == sender


@pytest.mark.requirement("http.forwarded")
def test_a_page_on_the_machine_of_another_is_not_on_this_one() -> None:
    here = Arrival("127.0.0.1:12010", "http://localhost:3000", "127.0.0.1")
    behind = Arrival("127.0.0.1:12010", "http://localhost:3000", "127.0.0.1", forwarded=True)
    named = Arrival("mcp.example.org", "http://localhost:3000", "127.0.0.1")
    judged = [
        judge(one, bind_to("127.0.0.1"), frozenset({"mcp.example.org"}))
        for one in (here, behind, named)
    ]
    assert [bool(found.foreign) for found in judged] == [False, True, True]


def test_a_refusal_says_what_to_do() -> None:
    told = verdict("127.0.0.1", "evil.example" + "x" * 9000, None).refusal
    assert "allowed_hosts" in told
    assert len(told) < 300
    told = verdict("0.0.0.0", "127.0.0.1", "https://x.org" + "x" * 9000).foreign
    assert "allowed_origins" in told
    assert len(told) < 300
    told = verdict("0.0.0.0", "nas.lan", "http://nas.lan").foreign
    assert "its host in allowed_hosts" in told


ORIGINS: dict[tuple[str, str | None, bool], bool] = {
    # entry, Origin, from this machine -> allowed
    ("*", "https://evil.org", False): True,
    ("*", None, False): True,
    ("localhost", None, True): True,
    ("localhost", None, False): False,
    ("localhost", "http://localhost:3000", False): True,
    ("localhost", "http://localhost.evil.org", True): False,
    ("localhost", "https://evil.org", True): False,
    ("localhost:3000", "http://localhost:3000", True): True,
    ("localhost:3000", "http://localhost:4000", True): False,
    ("https://x.org", "https://x.org", False): True,
    ("https://x.org", "HTTPS://X.ORG", False): True,
    ("https://x.org", "https://x.org:443", False): True,
    ("https://x.org:443", "https://x.org", False): True,
    ("https://x.org", "https://x.org:8443", False): False,
    ("https://x.org", "http://x.org", False): False,
    ("https://x.org", "https://x.org.evil.com", False): False,
    ("https://x.org", "https://evil.com/https://x.org", False): False,
    ("https://x.org", "https://user@x.org", False): False,
    ("x.org:443", "https://x.org", False): True,
    ("x.org", "https://sub.x.org", False): False,
    ("https://x.org", None, True): False,
    ("https://x.org", "null", True): False,
    ("https://x.org", "", True): False,
    ("https://x.org", "https://x.org.", False): True,
    ("https://x.org", "x.org", False): False,
    ("x.org", "x.org", False): False,
    ("https://bücher.example", "https://xn--bcher-kva.example", False): True,
    ("chrome-extension://abcdef", "chrome-extension://abcdef", False): True,
    ("chrome-extension://abcdef", "chrome-extension://fedcba", False): False,
    ("null", "null", False): True,
    ("null", "http://null.evil.org", False): False,
    ("localhost", "null", True): False,
    ("*", "null", False): True,
    ("[::1]:80", "http://[::1]", True): True,
}


@pytest.mark.requirement("access.origins")
@pytest.mark.parametrize(("entry", "origin", "local"), ORIGINS)
def test_origins(entry: str, origin: str | None, local: bool) -> None:
    caller = Caller(origin=origin, local=local)
    assert origin_allowed((configured(entry),), caller) == ORIGINS[entry, origin, local]


@given(st.text())
def test_no_list_allows_every_origin_and_an_empty_one_none(origin: str) -> None:
    assert origin_allowed(None, Caller(origin=origin))
    assert not origin_allowed(None, Caller(origin=origin, foreign=True))
    assert not origin_allowed((), Caller(origin=origin))
