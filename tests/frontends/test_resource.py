"""Where an OAuth client is led, behind whatever proxy."""

import pytest
from starlette.requests import Request

from mcproxy.config.auth import JwtConfig
from mcproxy.frontends.resource import WELL_KNOWN, challenge, document

BARE = 'Bearer realm="mcproxy"'


def rules(resource: str | None = None) -> JwtConfig:
    return JwtConfig(issuer="https://x.org", audience=("a",), resource=resource)


def request(path: str, host: str = "127.0.0.1:12010") -> Request:
    return Request(
        {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "query_string": b"",
            "headers": [(b"host", host.encode())],
        }
    )


@pytest.mark.requirement("jwt.metadata")
@pytest.mark.parametrize(
    ("base", "path", "metadata", "resource"),
    [
        (None, "/mcp/a", "http://127.0.0.1:12010{}/mcp/a", "http://127.0.0.1:12010/mcp/a"),
        ("https://m.org", "/mcp", "https://m.org{}/mcp", "https://m.org/mcp"),
        ("https://m.org/", "/mcp", "https://m.org{}/mcp", "https://m.org/mcp"),
        ("https://m.org/x", "/sse/a", "https://m.org{}/x/sse/a", "https://m.org/x/sse/a"),
        (None, '/mcp/a" b\r\n', "http://127.0.0.1:12010{}/mcp/a%22%20b%0D%0A", None),
    ],
)
def test_the_metadata_is_where_the_refusal_says(
    base: str | None, path: str, metadata: str, resource: str | None
) -> None:
    where = metadata.format(WELL_KNOWN)
    assert challenge(BARE, rules(base), request(path)) == f'{BARE}, resource_metadata="{where}"'
    if resource:
        told = document(rules(base), request("/" + where.split("/", 3)[3]))
        assert told
        assert told["resource"] == resource


@pytest.mark.parametrize("host", ["", 'x"y', "x.org/path", "x.org, evil.org", "user@x.org", "x:y"])
def test_a_host_that_is_none_leads_nowhere(host: str) -> None:
    assert challenge(BARE, rules(), request("/mcp", host)) == BARE
    assert document(rules(), request(WELL_KNOWN, host)) is None
    assert document(rules("https://m.org"), request(WELL_KNOWN, host))


def test_without_an_issuer_nothing_is_added() -> None:
    assert challenge(BARE, None, request("/mcp")) == BARE
    assert challenge("", rules(), request("/mcp")) == ""
