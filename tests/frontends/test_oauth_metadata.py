"""Where an OAuth client is led, behind whatever proxy."""

import pytest

from mcproxy.config.auth import JwtConfig
from mcproxy.frontends.oauth_metadata import WELL_KNOWN, challenge, document

BARE = 'Bearer realm="mcproxy"'
HERE = "http://127.0.0.1:12010"


def rules(resource: str | None = None) -> JwtConfig:
    return JwtConfig(issuer="https://x.org", audience=("a",), resource=resource)


@pytest.mark.requirement("jwt.metadata")
@pytest.mark.parametrize(
    ("base", "path", "metadata", "resource"),
    [
        (None, "/mcp/a", HERE + "{}/mcp/a", HERE + "/mcp/a"),
        (None, "/mcp/", HERE + "{}/mcp/", HERE + "/mcp/"),
        ("https://m.org", "/mcp", "https://m.org{}/mcp", "https://m.org/mcp"),
        ("https://m.org/", "/mcp", "https://m.org{}/mcp", "https://m.org/mcp"),
        ("https://m.org/x", "/sse/a", "https://m.org{}/x/sse/a", "https://m.org/x/sse/a"),
        (None, '/mcp/a" b\r\n', HERE + "{}/mcp/a%22%20b%0D%0A", None),
    ],
)
def test_the_metadata_is_where_the_refusal_says(
    base: str | None, path: str, metadata: str, resource: str | None
) -> None:
    where = metadata.format(WELL_KNOWN)
    told = challenge(BARE, rules(base), HERE, path)
    assert told == f'{BARE}, resource_metadata="{where}"'
    if resource:
        told_of = document(rules(base), HERE, "/" + where.split("/", 3)[3])
        assert told_of
        assert told_of["resource"] == resource


def test_where_it_is_not_known_how_the_client_came_nothing_leads_on() -> None:
    assert challenge(BARE, rules(), None, "/mcp") == BARE
    assert document(rules(), None, WELL_KNOWN) is None
    assert document(rules("https://m.org"), None, WELL_KNOWN)


def test_without_an_issuer_nothing_is_added() -> None:
    assert challenge(BARE, None, HERE, "/mcp") == BARE
    assert challenge("", rules(), HERE, "/mcp") == ""
