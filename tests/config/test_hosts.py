"""What may stand in both ``allowed_hosts`` and ``allowed_origins``."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.provisional import domains
from pydantic_core import PydanticCustomError

from mcproxy.config.hosts import NEVER_PUBLIC, one_form, origin, public_host, served_host

ADDRESS = "is an IP address"
PRIVATE = "is never a public host"
NO_HOST = "is not a host name"
PORT = "names a port"
URL = "is a URL"

REFUSED = {
    "127.0.0.1": ADDRESS,
    "8.8.8.8": ADDRESS,
    "::1": ADDRESS,
    "[::1]": ADDRESS,
    "[::1]:80": ADDRESS,
    "10.0.0.1:80": ADDRESS,
    "0x7f.1": ADDRESS,
    "127.1": ADDRESS,
    "2130706433": ADDRESS,
    "\uff11\uff12\uff17.0.0.1": ADDRESS,
    "localhost": PRIVATE,
    "LOCALHOST.": PRIVATE,
    "a.localhost": PRIVATE,
    "intranet": PRIVATE,
    "db.local": PRIVATE,
    "*.internal": PRIVATE,
    "vault.corp": PRIVATE,
    "a.test": PRIVATE,
    "https://api.github.com/v3": URL,
    "http://[x": URL,
    "api.github.com:443": PORT,
    "api.github.com/v3": NO_HOST,
    "user@x.com": NO_HOST,
    "a b.com": NO_HOST,
    "*.*.com": NO_HOST,
    "api.*.com": NO_HOST,
    "-a.com": NO_HOST,
    "a..com": NO_HOST,
    "a.com..": NO_HOST,
    "**": NO_HOST,
    "*.": NO_HOST,
    "": NO_HOST,
    "x" * 64 + ".com": NO_HOST,
    ".".join(["abcdefgh"] * 30): NO_HOST,
}
ALLOWED = {
    "api.github.com": "api.github.com",
    "API.GitHub.com.": "api.github.com",
    "*.github.com": "*.github.com",
    "*": "*",
    "*.dev": "*.dev",
    "münchen.de": "xn--mnchen-3ya.de",
    "a_b.example.com": "a_b.example.com",
    "3com.com": "3com.com",
    " api.github.com ": "api.github.com",
}


@pytest.mark.requirement("sandbox.allowed_hosts_refused")
@pytest.mark.parametrize("entry", REFUSED)
def test_what_is_never_a_public_host(entry: str) -> None:
    with pytest.raises(PydanticCustomError) as refused:
        public_host(entry)
    assert str(refused.value) == f"{entry!r} {REFUSED[entry]}"


@pytest.mark.parametrize("entry", ALLOWED)
def test_what_may_be_one_is_brought_to_one_form(entry: str) -> None:
    assert public_host(entry) == ALLOWED[entry]


@given(st.ip_addresses())
def test_no_address_is_allowed(address: object) -> None:
    with pytest.raises(PydanticCustomError):
        public_host(str(address))


@given(domains())
def test_a_domain_is_allowed_and_its_form_is_final(domain: str) -> None:
    if domain.lower().rpartition(".")[2] not in NEVER_PUBLIC:
        assert public_host(public_host(domain)) == domain.lower()


@pytest.mark.parametrize(
    "entry",
    ["*", "localhost", "127.0.0.1", "[::1]:8080", "app.example.org:443", "https://App.example.org"],
)
def test_origins(entry: str) -> None:
    assert origin(entry) == entry.lower()


@pytest.mark.parametrize("entry", ["", "https://x.org/", "a b", "https://", "x:port", "*.x.org"])
def test_what_is_no_origin(entry: str) -> None:
    with pytest.raises(PydanticCustomError):
        origin(entry)


@pytest.mark.parametrize(
    ("entry", "form"),
    [
        ("HTTPS://Bücher.example.", "https://xn--bcher-kva.example"),
        ("http://[0:0::1]:80", "http://[::1]:80"),
        ("localhost.", "localhost"),
    ],
)
def test_an_origin_is_brought_to_the_form_that_browsers_send(entry: str, form: str) -> None:
    assert origin(entry) == form


@pytest.mark.parametrize(
    ("entry", "form"),
    [
        ("MCP.Example.org.", "mcp.example.org"),
        ("nas", "nas"),
        ("münchen.lan", "xn--mnchen-3ya.lan"),
        ("192.168.1.7", "192.168.1.7"),
        ("[FD00:0::7]", "fd00::7"),
        ("fd00::7", "fd00::7"),
        ("::ffff:192.168.1.7", "192.168.1.7"),
    ],
)
def test_names_of_the_gateway_are_brought_to_one_form(entry: str, form: str) -> None:
    assert served_host(entry) == form
    assert served_host(form) == form


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("https://mcp.example.org", URL),
        ("mcp.example.org:443", PORT),
        ("[::1]:80", PORT),
        ("*", NO_HOST),
        ("*.example.org", NO_HOST),
        ("127.1", NO_HOST),
        ("user@x.org", NO_HOST),
        ("", NO_HOST),
    ],
)
def test_what_is_no_name_of_the_gateway(entry: str, words: str) -> None:
    with pytest.raises(PydanticCustomError) as refused:
        served_host(entry)
    assert str(refused.value) == f"{entry!r} {words}"


@given(domains())
def test_a_name_has_one_form(name: str) -> None:
    assert one_form(name) == one_form(f"{name.upper()}.") == name.lower()


@given(st.ip_addresses(v=6))
def test_an_address_has_one_form(address: ipaddress.IPv6Address) -> None:
    assert one_form(address.exploded) == one_form(f"[{address}]")
