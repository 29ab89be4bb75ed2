"""Who may use which endpoint, and how the others are refused."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.config.load import load_document
from mcproxy.policy.access import (
    AccessDenied,
    Policy,
    admit,
    identify,
    policy_of,
    usable,
)
from mcproxy.types import Caller, Claims, JsonObject

DOCUMENT: JsonObject = {
    "servers": {name: {"command": "c"} for name in ("web", "db", "shop")},
    "namespaces": {
        "public": ["web"],
        "system": {"require_auth": True, "servers": ["db"]},
        "below": {"extends": "system"},
        "shop": {"servers": ["shop"], "allowed_origins": ["https://shop.example.org"]},
    },
    "groups": {"all": ["public", "system"], "both": ["system", "below"]},
    "auth": {
        "tokens": [
            {"name": "alice", "token": "alice-secret", "namespaces": ["system"]},
            {"name": "bob", "token": "bob-sécret", "namespaces": ["below", "system"]},
            {"name": "root", "token": "root-secret", "namespaces": ["*"]},
            {"name": "guest", "token": "guest-secret"},
            {
                "name": "hashed",  # of "hashed-secret"
                "sha256": "4E598F5DAAFC2FDA61641DDBB5956DEB23FDE6616366DC9DD5A7C9F47DA4D787",
                "namespaces": ["system"],
            },
        ]
    },
}
POLICY = policy_of(load_document(DOCUMENT).config)
OPEN = policy_of(load_document({"namespaces": {"other": []}}).config)

ANYBODY = Caller()
ALICE = Caller(token="alice-secret")
BOB = Caller(token="bob-sécret")
ROOT = Caller(token="root-secret")
GUEST = Caller(token="guest-secret")
HASHED = Caller(token="hashed-secret")
WRONG = Caller(token="alice-secre")
SHOP = Caller(origin="https://shop.example.org", foreign=True)

ADMITTED: dict[str, tuple[Caller, str | None, str]] = {
    "nobody to the default": (ANYBODY, None, "public"),
    "an empty name is none": (ANYBODY, "", "public"),
    "nobody to an open one": (ANYBODY, "public", "public"),
    "a token changes nothing there": (GUEST, "public", "public"),
    "a listed token": (ALICE, "system", "system"),
    "any namespace": (ROOT, "below", "below"),
    "a token known by its hash": (HASHED, "system", "system"),
    "a group of listed ones": (ALICE, "all", "all"),
    "a group of several guarded ones": (BOB, "both", "both"),
}


@pytest.mark.requirement("access.tokens")
@pytest.mark.requirement("access.hashed")
@pytest.mark.parametrize("title", ADMITTED)
def test_who_is_admitted(title: str) -> None:
    caller, name, expected = ADMITTED[title]
    assert admit(POLICY, caller, name).namespace.name == expected


REFUSED: dict[str, tuple[Policy, Caller, str | None, int]] = {
    "nobody to a guarded one": (POLICY, ANYBODY, "system", 401),
    "nobody to an unknown one": (POLICY, ANYBODY, "nowhere", 401),
    "nobody to a guarded group": (POLICY, ANYBODY, "all", 401),
    "a token to one that it does not list": (POLICY, GUEST, "system", 404),
    "a token to an unknown one": (POLICY, GUEST, "nowhere", 404),
    "a token to what extends the listed one": (POLICY, ALICE, "below", 404),
    "a token to a group with one more guard": (POLICY, ALICE, "both", 404),
    "a wrong token to a guarded one": (POLICY, WRONG, "system", 401),
    "a wrong token to an open one": (POLICY, WRONG, "public", 401),
    "a wrong token to the default": (POLICY, WRONG, None, 401),
    "an empty token": (POLICY, Caller(token=""), "public", 401),
    "a hash in place of its token": (
        POLICY,
        Caller(token=hashlib.sha256(b"hashed-secret").hexdigest()),
        "system",
        401,
    ),
    "an odd token": (POLICY, Caller(token="\udcff"), "public", 401),
    "a foreign origin": (POLICY, Caller(origin="https://evil.org"), "shop", 403),
    "no origin": (POLICY, ANYBODY, "shop", 403),
    "a page of the shop elsewhere": (POLICY, SHOP, "public", 403),
    "an unknown one without any auth": (OPEN, ANYBODY, "nowhere", 404),
}


def refusal(policy: Policy, caller: Caller, name: str | None) -> AccessDenied:
    with pytest.raises(AccessDenied) as refused:
        admit(policy, caller, name)
    return refused.value


@pytest.mark.requirement("access.refused")
@pytest.mark.parametrize("title", REFUSED)
def test_who_is_refused(title: str) -> None:
    policy, caller, name, status = REFUSED[title]
    denied = refusal(policy, caller, name)
    assert denied.status == status
    assert denied.challenge.startswith("Bearer") == (status == 401)


@pytest.mark.requirement("access.same_words")
@pytest.mark.parametrize("caller", [ANYBODY, GUEST, ALICE])
def test_guarded_and_unknown_are_refused_in_the_same_words(caller: Caller) -> None:
    guarded, unknown = refusal(POLICY, caller, "below"), refusal(POLICY, caller, "nowhere")
    assert str(guarded).replace("below", "…") == str(unknown).replace("nowhere", "…")
    assert (guarded.status, guarded.challenge) == (unknown.status, unknown.challenge)


def test_a_refusal_says_what_to_do_and_names_only_what_is_open() -> None:
    assert str(refusal(POLICY, ANYBODY, "system")) == (
        "Namespace 'system' does not exist or needs a token: send 'Authorization: Bearer TOKEN'. "
        "Namespaces open to you: public."
    )
    assert str(refusal(POLICY, ALICE, "below")) == (
        "There is no namespace 'below' for you. Namespaces open to you: public, system, all."
    )
    assert str(refusal(POLICY, ANYBODY, "shop")) == (
        "Namespace 'shop' does not accept a request without an origin; "
        "add it to the namespace's allowed_origins if it is yours."
    )
    many = policy_of(load_document({"namespaces": {f"n{i:02}": [] for i in range(30)}}).config)
    assert str(refusal(many, ANYBODY, "x")).endswith("n18 and 11 more.")


def test_a_wrong_token_is_not_repeated() -> None:
    assert "alice-secre" not in str(refusal(POLICY, WRONG, "system"))
    assert "alice-secret" not in repr(POLICY)


@pytest.mark.parametrize(("caller", "name"), [(ANYBODY, "anonymous"), (ALICE, "alice")])
def test_callers_have_names(caller: Caller, name: str) -> None:
    assert identify(POLICY, caller) == name


def test_a_wrong_token_has_no_name() -> None:
    with pytest.raises(AccessDenied):
        identify(POLICY, WRONG)


ISSUED: JsonObject = {
    **DOCUMENT,
    "auth": {
        "tokens": [{"name": "ada", "token": "ada-secret"}],
        "jwt": {
            "issuer": "https://issuer.example.org",
            "audience": "mcp",
            "scopes": {"db": ["system"], "all": ["*"], "none": []},
            "namespaces": ["below"],
        },
    },
}
JWT = policy_of(load_document(ISSUED).config)
RULES = JWT.identities.jwt


def issued(*scopes: str, rules: object = RULES) -> Caller:
    return Caller("a.b.c", claims=Claims("ada", frozenset(scopes), rules))


@pytest.mark.requirement("jwt.scopes")
@pytest.mark.parametrize(
    ("scopes", "opened"),
    [
        ((), {"public", "below"}),
        (("none", "unknown", "*", "system"), {"public", "below"}),
        (("db",), {"public", "below", "system", "all", "both"}),
        (("all",), {"public", "below", "system", "all", "both"}),
    ],
)
def test_an_issued_token_opens_what_its_scopes_say(
    scopes: tuple[str, ...], opened: set[str]
) -> None:
    assert {place.name for place in usable(JWT, issued(*scopes))} == opened


@pytest.mark.requirement("jwt.names")
def test_an_issuers_name_is_no_name_of_a_token() -> None:
    assert identify(JWT, issued()) == "jwt:ada"
    assert identify(JWT, Caller("ada-secret")) == "ada"


UNPROVEN: dict[str, tuple[Policy, Caller]] = {
    "no claims": (JWT, Caller("a.b.c", fault="it has expired")),
    "claims under other rules": (JWT, issued("all", rules=object())),
    "claims under none": (JWT, issued("all", rules=None)),
    "an issuer that is not in force": (POLICY, issued("all")),
}


@pytest.mark.requirement("jwt.refused")
@pytest.mark.parametrize("title", UNPROVEN)
@pytest.mark.parametrize("name", [None, "public", "system", "nowhere"])
def test_without_claims_under_the_rules_in_force_a_token_is_wrong(
    title: str, name: str | None
) -> None:
    policy, caller = UNPROVEN[title]
    denied = refusal(policy, caller, name)
    assert (denied.status, denied.wrong_token) == (401, True)


def test_a_refusal_says_why_an_issued_token_is_wrong() -> None:
    assert str(refusal(JWT, Caller("a.b.c", fault="it has expired"), None)) == (
        "This token is not valid: it has expired. Send a token of auth.tokens, or of the issuer in "
        "auth.jwt, as 'Authorization: Bearer TOKEN', or none at all."
    )


@pytest.mark.parametrize(
    ("policy", "token", "needed"),
    [
        (JWT, None, False),
        (JWT, "ada-secret", False),
        (JWT, "a.b.c", True),
        (POLICY, "a.b.c", False),
    ],
)
def test_only_tokens_that_are_not_ours_go_to_the_issuers_keys(
    policy: Policy, token: str | None, needed: bool
) -> None:
    assert policy.identities.need_claims(Caller(token)) is needed


CALLERS = [ANYBODY, ALICE, BOB, ROOT, GUEST, HASHED, SHOP]


@pytest.mark.parametrize("caller", CALLERS)
def test_usable_is_what_admit_admits(caller: Caller) -> None:
    names = {endpoint.name for endpoint in usable(POLICY, caller)}
    for name in POLICY.endpoints:
        if name in names:
            assert admit(POLICY, caller, name).namespace.name == name
        else:
            refusal(POLICY, caller, name)


@given(st.text())
def test_only_a_configured_token_is_one(token: str) -> None:
    digests = {each.digest for each in POLICY.identities.tokens}
    if hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest() not in digests:
        assert refusal(POLICY, Caller(token=token), None).status == 401
