"""The issuer in force, and how one gives way to the next."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from mcproxy.config.load import Loaded, load_document
from mcproxy.policy.verifier import Verifier, authority_of
from mcproxy.types import Caller, Json, JsonObject
from tests.issuing import AUDIENCE, Issuer, issuing

BOUND_SECS = 20


def loaded(issuer: Issuer, **rules: Json) -> Loaded:
    jwt: Json = {"issuer": issuer.url, "audience": AUDIENCE, **rules}
    return load_document({"auth": {"jwt": jwt}})


@asynccontextmanager
async def running(verifier: Verifier) -> AsyncIterator[None]:
    async with asyncio.timeout(BOUND_SECS), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(verifier.run())
        yield
        task.cancel()


async def fault(verifier: Verifier, token: str) -> str:
    """Why the token is refused; empty where it is good."""
    caller = await verifier.verified(Caller(token))
    assert bool(caller.claims) != bool(caller.fault)
    return caller.fault


@pytest.mark.requirement("jwt.reload")
async def test_other_rules_count_at_once_and_keep_the_keys_of_an_issuer_that_is_down() -> None:
    with issuing() as issuer:
        verifier = Verifier(authority_of(loaded(issuer)))
        async with running(verifier):
            assert not await fault(verifier, issuer.token())
            issuer.fail()
            verifier.use(authority_of(loaded(issuer, scopes={"a": ["public"]})))
            assert not await fault(verifier, issuer.token())
            verifier.use(authority_of(loaded(issuer, audience="another")))
            assert "another audience" in await fault(verifier, issuer.token())
            assert not await fault(verifier, issuer.token(aud="another"))
            assert issuer.asked["/jwks"] == 1


@pytest.mark.requirement("jwt.reload")
async def test_another_issuer_comes_with_its_own_keys() -> None:
    with issuing() as issuer, issuing() as other:
        verifier = Verifier(None)
        async with running(verifier):
            nobody = await verifier.verified(Caller(issuer.token()))
            assert (nobody.claims, nobody.fault) == (None, "")
            verifier.use(authority_of(loaded(issuer)))
            assert not await fault(verifier, issuer.token())
            verifier.use(authority_of(loaded(other)))
            assert "signature is wrong" in await fault(verifier, issuer.token())
            assert not await fault(verifier, other.token())
            verifier.use(authority_of(loaded(other, algorithms=["RS256"])))
            assert "not signed with one of RS256" in await fault(verifier, other.token())
            verifier.use(None)
            assert not (await verifier.verified(Caller(other.token()))).claims


@pytest.mark.requirement("jwt.refused")
async def test_what_one_token_proved_is_not_held_for_another() -> None:
    with issuing() as issuer:
        verifier = Verifier(authority_of(loaded(issuer)))
        async with running(verifier):
            good = await verifier.verified(Caller(issuer.token()))
            wrong = await verifier.verified(replace(good, token="not.a.token"))
            assert (wrong.claims, bool(wrong.fault)) == (None, True)
            again = await verifier.verified(replace(wrong, token=good.token))
            assert again == good


@pytest.mark.requirement("jwt.issuer_down")
async def test_without_keys_nothing_is_good() -> None:
    with issuing() as issuer:
        issuer.fail()
        verifier = Verifier(authority_of(loaded(issuer)))
        async with running(verifier):
            assert "keys cannot be had" in await fault(verifier, issuer.token())


@pytest.mark.requirement("jwt.extra")
def test_its_libraries_are_loaded_where_there_is_an_issuer_only() -> None:
    code = (
        "import sys; from mcproxy import serve; from mcproxy.config.load import load_document; "
        "from mcproxy.policy.verifier import authority_of; authority_of(load_document(%s)); "
        "print('jwt' in sys.modules, 'httpx' in sys.modules)"
    )
    one: JsonObject = {"auth": {"jwt": {"issuer": "https://x.org", "audience": "a"}}}
    for document, printed in (({}, "False False"), (one, "True True")):
        done = subprocess.run(
            [sys.executable, "-c", code % document], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == printed
