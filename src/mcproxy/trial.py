"""Starting the sandbox and the servers once, for ``doctor`` and ``stubs``, to see what comes; and
asking the issuer of tokens for its keys."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from mcproxy.app import profiles_of
from mcproxy.commands.diagnosis import IssuerResult, ServerResult
from mcproxy.commands.doctor import Trial
from mcproxy.config.load import Loaded
from mcproxy.errors import ConfigError, McproxyError, SandboxUnavailable
from mcproxy.manifest.model import Manifest, build
from mcproxy.observe import logs
from mcproxy.observe.redact import Redactor, secrets_of
from mcproxy.policy.access import policy_of
from mcproxy.policy.verifier import authority_of
from mcproxy.sandbox.pool import Pool, PoolSettings
from mcproxy.types import Change, SandboxReport
from mcproxy.upstream.fleet import Fleet

TRIAL_SECS = 90.0  # `npx` and `uvx` may download a server first


def attempt(loaded: Loaded) -> Trial:
    """Start everything that the configuration names, stop it again, and tell how it went."""
    logs.configure_for_command(Redactor(secrets_of(loaded)))
    return asyncio.run(_attempt(loaded))


def learn(loaded: Loaded) -> Manifest:
    """Start the servers, and give what they offer."""
    logs.configure_for_command(Redactor(secrets_of(loaded)))
    return asyncio.run(_learn(loaded))


async def _attempt(loaded: Loaded) -> Trial:
    report = await _sandbox(loaded)
    started = time.monotonic()
    seconds: dict[str, float] = {}
    fleet: Fleet

    def note(_: Change) -> None:
        for name, health in fleet.health().items():
            if health.state not in ("starting", "restarting"):
                seconds.setdefault(name, time.monotonic() - started)

    fleet = Fleet(loaded, note)
    async with _tried(fleet):
        took = time.monotonic() - started
        manifest = build(fleet.views())
        results = {
            name: ServerResult(
                replace(health, repairs=manifest.repairs(name)), seconds.get(name, took)
            )
            for name, health in fleet.health().items()
        }
    return Trial(report, results, await _issuer(loaded))


async def _learn(loaded: Loaded) -> Manifest:
    fleet = Fleet(loaded, lambda _: None)
    async with _tried(fleet):
        return build(fleet.views())


@contextlib.asynccontextmanager
async def _tried(fleet: Fleet) -> AsyncIterator[None]:
    """The fleet, once each server is ready or has failed; it is stopped afterwards."""
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(fleet.run())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TRIAL_SECS):
                await fleet.settled()
        try:
            yield
        finally:
            running.cancel()


async def _sandbox(loaded: Loaded) -> SandboxReport | None:
    """What the self-test says, also below the level that is demanded."""
    policy, settings = policy_of(loaded.config), loaded.config.sandbox
    with contextlib.suppress(SandboxUnavailable, ConfigError):
        async with Pool(PoolSettings(settings.level, "none", 1), profiles_of(policy)) as pool:
            return await pool.start()
    return None


async def _issuer(loaded: Loaded) -> IssuerResult | None:
    """What the issuer of ``auth.jwt`` gives."""
    rules = loaded.config.auth.jwt
    if rules is None:
        return None
    try:
        authority = authority_of(loaded)
        keys = await authority.ask() if authority else ()
    except McproxyError as error:
        return IssuerResult(rules.issuer, error=str(error))
    return IssuerResult(rules.issuer, tuple(sorted({key.algorithm_name for key in keys})))
