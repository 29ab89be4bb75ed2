"""Asking a real issuer for its keys."""

from collections.abc import Iterator

import pytest

from mcproxy.config.auth import JwtConfig
from mcproxy.policy.oauth.issuer import (
    MAX_BODY_BYTES,
    IssuerUnavailable,
    fetch_keys,
    metadata_urls,
)
from mcproxy.types import Json
from tests.issuing import AUDIENCE, Issuer, issuing, signer

OPENID = "/.well-known/openid-configuration"
OAUTH = "/.well-known/oauth-authorization-server"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as found:
        yield found


def rules(issuer: Issuer, jwks_url: str | None = None) -> JwtConfig:
    return JwtConfig(issuer=issuer.url, audience=(AUDIENCE,), jwks_url=jwks_url)


@pytest.mark.parametrize(
    ("issuer", "urls"),
    [
        ("https://x.org", (f"https://x.org{OAUTH}", f"https://x.org{OPENID}")),
        ("https://x.org/", (f"https://x.org{OAUTH}", f"https://x.org{OPENID}")),
        (
            "https://x.org:8443/realms/a/",
            (
                f"https://x.org:8443{OAUTH}/realms/a",
                f"https://x.org:8443{OPENID}/realms/a",
                f"https://x.org:8443/realms/a{OPENID}",
            ),
        ),
    ],
)
def test_where_metadata_may_be(issuer: str, urls: tuple[str, ...]) -> None:
    assert metadata_urls(issuer) == urls


@pytest.mark.requirement("jwt.discovery")
@pytest.mark.parametrize("path", [OAUTH, OPENID])
async def test_keys_are_found_from_the_metadata(issuer: Issuer, path: str) -> None:
    issuer.pages[path] = issuer.pages.pop(OPENID)
    [key] = await fetch_keys(rules(issuer))
    assert (key.key_id, key.algorithm_name) == ("first", "ES256")


@pytest.mark.requirement("jwt.discovery")
@pytest.mark.parametrize("path", [f"{OAUTH}/a", f"{OPENID}/a", f"/a{OPENID}"])
async def test_the_same_for_an_issuer_with_a_path(path: str) -> None:
    with issuing(path="/a") as issuer:
        metadata: Json = {"issuer": issuer.url, "jwks_uri": issuer.url[:-2] + "/jwks"}
        issuer.pages = {path: metadata, "/jwks": issuer.pages["/jwks"]}
        assert len(await fetch_keys(rules(issuer))) == 1


async def test_a_url_of_keys_needs_no_metadata(issuer: Issuer) -> None:
    del issuer.pages[OPENID]
    assert len(await fetch_keys(rules(issuer, f"{issuer.url}/jwks"))) == 1
    assert dict(issuer.asked) == {"/jwks": 1}


REFUSED: dict[str, tuple[dict[str, Json | bytes], str]] = {
    "nothing there": ({OPENID: 404}, "it answers 404"),
    "another issuer's metadata": (
        {OPENID: {"issuer": "https://evil.org", "jwks_uri": "https://evil.org/jwks"}},
        "this is not the metadata of http://127.0.0.1",
    ),
    "no JSON": ({OPENID: b"<html>"}, "this is no JSON"),
    "deep JSON": ({OPENID: b"[" * 100_000}, "this is no JSON"),
    "keys that are not there": ({"/jwks": 500}, "it answers 500"),
    "a redirect": ({"/jwks": 302}, "it answers 302"),
    "no keys": ({"/jwks": {"keys": []}}, "no key there can verify RS256"),
    "no usable key": ({"/jwks": {"keys": [{"kty": "oct", "k": "eA"}]}}, "no key there can verify"),
    "keys that are no JSON": ({"/jwks": b"\xff"}, "this is no JSON"),
    "keys without end": ({"/jwks": b" " * (MAX_BODY_BYTES + 1)}, "it is over 262144 bytes"),
}


@pytest.mark.parametrize("title", REFUSED)
async def test_what_an_issuer_must_not_answer(issuer: Issuer, title: str) -> None:
    pages, words = REFUSED[title]
    issuer.pages |= pages
    with pytest.raises(IssuerUnavailable) as refused:
        await fetch_keys(rules(issuer))
    assert words in str(refused.value)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "", None, 5])
async def test_metadata_must_name_a_url_of_keys(issuer: Issuer, url: Json) -> None:
    issuer.pages[OPENID] = {"issuer": issuer.url, "jwks_uri": url}
    with pytest.raises(IssuerUnavailable, match="names no 'jwks_uri'"):
        await fetch_keys(rules(issuer))


async def test_an_issuer_that_is_not_there() -> None:
    with issuing() as issuer:
        gone = rules(issuer, f"{issuer.url}/jwks?key=canary")
    with pytest.raises(IssuerUnavailable, match="/jwks: ") as refused:
        await fetch_keys(gone)
    assert "canary" not in str(refused.value)


async def test_a_rotated_key_is_the_one_that_is_given(issuer: Issuer) -> None:
    issuer.publish(signer("second", "RS256"), issuer.key)
    found = {(key.key_id, key.algorithm_name) for key in await fetch_keys(rules(issuer))}
    assert found == {("second", "RS256"), ("second", "PS256"), ("first", "ES256")}
