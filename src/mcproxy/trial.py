"""Starting the sandbox and the servers once, for ``doctor`` and ``stubs``, to see what comes; and
asking the issuer of tokens for its keys."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping

from msgspec.structs import replace

from mcproxy.app import profiles_of
from mcproxy.commands.diagnosis import IssuerResult, ServerResult
from mcproxy.commands.doctor import TrialFindings
from mcproxy.config.load import Loaded
from mcproxy.errors import ConfigError, McproxyError, SandboxUnavailable
from mcproxy.manifest.model import Manifest, build
from mcproxy.observe import logs
from mcproxy.observe.redact import Redactor, secrets_of
from mcproxy.policy.access import policy_of
from mcproxy.policy.definition_records import suspected
from mcproxy.policy.verifier import authority_of
from mcproxy.sandbox.pool import Pool, PoolSettings
from mcproxy.types import SandboxReport, ServerHealth
from mcproxy.upstream.fleet import Fleet

LOOK_SECS = 0.5
TRIAL_SECS = 90.0  # `npx` and `uvx` may download a server first


def attempt(loaded: Loaded, findings: TrialFindings) -> None:
    """Start everything that the configuration names, tell how each went, and stop it again."""
    logs.configure_for_command(Redactor(secrets_of(loaded)))
    logging.getLogger("mcproxy.upstream").setLevel(logging.CRITICAL)  # the findings say it, once
    asyncio.run(_attempt(loaded, findings))


def learn(loaded: Loaded) -> Manifest:
    """Start the servers, and give what they offer."""
    logs.configure_for_command(Redactor(secrets_of(loaded)))
    return asyncio.run(_learn(loaded))


async def _attempt(loaded: Loaded, findings: TrialFindings) -> None:
    report = await _sandbox(loaded)
    if report:
        findings.sandbox(report)
    await _try_servers(loaded, findings)
    issuer = await _issuer(loaded)
    if issuer:
        findings.issuer(issuer)


async def _try_servers(loaded: Loaded, findings: TrialFindings) -> None:
    """Start the servers, and tell of each once: as it is ready or has failed, at last as it is."""
    started, changed = time.monotonic(), asyncio.Event()
    fleet = Fleet(loaded, lambda _: changed.set())
    told: set[str] = set()

    def tell(*, all_of_them: bool) -> Mapping[str, ServerHealth]:
        manifest, late = build(fleet.views()), {}
        for name, health in fleet.health().items():
            if name in told:
                continue
            if health.state == "starting" and not all_of_them:
                late[name] = health
                continue
            told.add(name)
            part = manifest.parts.get(name)
            held = tuple(suspected(part.source)) if part else ()
            tools = len(part.tools) if part else health.tools
            whole = replace(health, tools=tools, repairs=manifest.repairs(name), held=held)
            findings.server(name, ServerResult(whole, time.monotonic() - started))
        return late

    async with _running(fleet):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TRIAL_SECS):
                while late := tell(all_of_them=False):
                    findings.waiting(late)
                    changed.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_SECS):  # its words change by themselves
                            await changed.wait()
        tell(all_of_them=True)


async def _learn(loaded: Loaded) -> Manifest:
    fleet = Fleet(loaded, lambda _: None)
    async with _tried(fleet):
        return build(fleet.views())


@contextlib.asynccontextmanager
async def _tried(fleet: Fleet) -> AsyncIterator[None]:
    """The fleet, once each server is ready or has failed; it is stopped afterwards."""
    async with _running(fleet):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TRIAL_SECS):
                await fleet.settled()
        yield


@contextlib.asynccontextmanager
async def _running(fleet: Fleet) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(fleet.run())
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
