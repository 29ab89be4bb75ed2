"""The composition root: builds every part, ties them together, starts and stops them.

Owns the top TaskGroup and the snapshot in force. Has no request logic: what a request does is told
by ``gateway``; what goes in and out by ``frontends``.
"""

import asyncio
import contextlib
import logging
import sysconfig
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mcproxy.commands.stubs import StubWriter, WhatIsLearned
from mcproxy.config.config_warnings import of_the_next_start
from mcproxy.config.hooks import RefreshHooks
from mcproxy.config.load import Loaded
from mcproxy.config.state import state_directory
from mcproxy.exchange import Tenant, Upstream
from mcproxy.gateway.approval_records import ApprovalRecords
from mcproxy.gateway.approvals import Approvals
from mcproxy.gateway.call_chain import CallServices, discreet_faults
from mcproxy.gateway.core import Gateway, Services
from mcproxy.gateway.definition_ledger import DefinitionLedger
from mcproxy.gateway.extensions.known import OFFERED_TO_SERVERS
from mcproxy.gateway.keeping import Keeping
from mcproxy.gateway.learning import Learning
from mcproxy.gateway.resources import resource_reader
from mcproxy.gateway.signed_state import Signing
from mcproxy.gateway.snapshot import Published, take_snapshot
from mcproxy.gateway.spans import call_spans
from mcproxy.hooks import Hooks
from mcproxy.manifest.live import Live
from mcproxy.manifest.model import Manifest, build, published
from mcproxy.manifest.refreshes import Refreshes
from mcproxy.observe.activity import Activity, own_memory_mb
from mcproxy.observe.health import Status, report
from mcproxy.observe.metrics import MetricFacts, Metrics, ended, telemetry_of
from mcproxy.observe.redact import Redactor, secrets_of
from mcproxy.policy.access import Policy, policy_of, usable
from mcproxy.policy.audit import audit_of
from mcproxy.policy.limits import RateLimiter, capacities, own_rates, shared_rates
from mcproxy.policy.namespaces import Namespace, learned_servers
from mcproxy.policy.verifier import Verifier, authority_of
from mcproxy.queues import Gate, Queues
from mcproxy.reload import Reloader
from mcproxy.sandbox.installer import Installer
from mcproxy.sandbox.packages import Packages
from mcproxy.sandbox.pool import Pool, PoolSettings, egress_of
from mcproxy.sandbox.profile import Profile, profile_for
from mcproxy.store.opening import stores_of
from mcproxy.types import (
    Caller,
    Change,
    Event,
    Json,
    SandboxReport,
    ServerHealth,
)
from mcproxy.upstream.fleet import Fleet, fleet_actions, wanted
from mcproxy.wire.message import Notification

if TYPE_CHECKING:
    from mcproxy.page.parts import Console

log = logging.getLogger(__name__)

Noted: TypeAlias = Callable[[Mapping[str, ServerHealth]], None]


class App:
    """One gateway: its servers, its rules, and what it answers.

    ``watch``: it follows changes of its configuration file; SIGHUP it always follows. ``mask`` is
    given what hides the secrets of the configuration, for the log; anew when there are others.
    ``noted`` is given how all servers are, whenever that has changed; ``swapped`` is called when
    another snapshot is in force. Raises ConfigError for what needs a library that is not installed.
    """

    def __init__(
        self,
        loaded: Loaded,
        mask: Callable[[Redactor], None],
        *,
        watch: bool = True,
        noted: Noted = lambda _: None,
        swapped: Callable[[], None] = lambda: None,
    ) -> None:
        self.gate = Gate()
        self._noted, self._swapped = noted, swapped
        self._loaded = loaded
        self._started = time.monotonic()
        self._policy = policy_of(loaded.config)
        self._verifier = Verifier(authority_of(loaded))
        self._manifest = build(())
        self._published = Published(take_snapshot(self._policy, self._manifest))
        self._fleet = Fleet(loaded, self._on_change, self._on_event, OFFERED_TO_SERVERS)
        hooks = Hooks(fleet_actions(self._fleet), loaded.environment)
        self._refreshes = Refreshes(hooks, self._refresh_hooks)
        self._stubs = StubWriter()
        state = state_directory(loaded.environment)
        self.stores = stores_of(loaded)
        kept, self._decisions = self.stores.kept, self.stores.decisions
        tools_changed = partial(self._on_change, "tools_changed")
        self._ledger = DefinitionLedger(self._decisions, tools_changed, self._on_event)
        self._ledger.use(loaded.config)
        self._live = Live(self._fleet.views, self._publish, self._refreshes, self._ledger.judged)
        self._reloader = Reloader(loaded.source, self._refresh)
        self._watch = watch
        sandbox = loaded.config.sandbox
        installer = Installer.found(loaded.environment, sandbox.uv_path)
        self._packages = Packages(state / "packages", installer)
        libraries = (sysconfig.get_path("purelib"),)  # httpx, for scripts that have a network
        self._pool = Pool(
            PoolSettings(sandbox.level, sandbox.min_level, sandbox.pool_size, libraries),
            profiles_of(self._policy),
            egress_of,
            self._packages.get,
        )
        self._queues = Queues(capacities(self._policy))
        self._metrics = Metrics()
        self.activity = Activity()
        self.activity.values, self.activity.mask = loaded.config.page.values, self._masked
        self._mask = mask
        self._secrets = secrets_of(loaded)  # those of earlier configurations stay secret
        self._redactor = Redactor(self._secrets)
        mask(self._redactor)
        self._audit = audit_of(loaded.config.audit, _folder(loaded), self._masked)
        discreet = partial(discreet_faults, self._masked_json)
        fleet = self._fleet.upstream
        upstream = Upstream(
            discreet(fleet.request),
            self._ledger.listing(discreet(fleet.list)),
            fleet.whose,
            discreet(fleet.watch),
            discreet(fleet.unwatch),
        )
        results = loaded.config.results
        own, shared = own_rates(RateLimiter(time.monotonic)), self.stores.shared
        self._learning = Learning(kept, self._masked, self._show_stubs)
        keeping = Keeping(kept, results.ttl_secs, results.inline_kb << 10)
        self._telemetry = telemetry_of(loaded)
        begin = self._telemetry.begin if self._telemetry else None
        calls = CallServices(
            shared_rates(shared.kept.take) if shared else own,
            self._queues.entered,
            self._audit,
            Approvals(ApprovalRecords(self._decisions), keeping, self._audit),
            discreet(call_spans(begin, self._metrics.measured(self._fleet.call))),
            resource_reader(upstream),
            self.activity,
            self._learning,
            begin,
        )
        run = self._metrics.counted(self._pool.run)
        signing = Signing(self.stores.secret, shared.gateway if shared else "")
        services = Services(run, calls, upstream, keeping, kept, self._metrics, signing)
        self.gateway = Gateway(self._published, services)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the sandbox and the servers; on leaving, stop them all.

        Waits at the start until the servers are up, at most ``manifests.startup_dwell_secs``, so
        that the first client sees their tools, and for the hooks before the first manifest. Raises
        SandboxUnavailable when the sandbox cannot reach ``sandbox.min_level``, and StateUnavailable
        where the store that gateways share is not there.
        """
        audit = contextlib.closing(self._audit) if self._audit else contextlib.nullcontext()
        with audit, self._reloader.hearing_hangups():
            async with self.stores.opened(), ended(self._telemetry):
                await self._ledger.load()
                async with self._running_on_stores():
                    yield

    @contextlib.asynccontextmanager
    async def _running_on_stores(self) -> AsyncIterator[None]:
        async with (
            self._packages,
            self._pool,
            self.gateway.running(),
            asyncio.TaskGroup() as tasks,
        ):
            dwell_secs = self._loaded.config.manifests.startup_dwell_secs
            dwell_end = asyncio.get_running_loop().time() + dwell_secs
            servers = tasks.create_task(self._fleet.run(), name="fleet")
            verifying = tasks.create_task(self._verifier.run(), name="verifier")
            watching = tasks.create_task(self.activity.run(self._memory_mb), name="activity")
            writing = tasks.create_task(self._stubs.run(), name="stubs")
            learning = tasks.create_task(self._learning.run(), name="learning")
            judging = tasks.create_task(self._ledger.run(), name="ledger")
            try:
                await self._pool.start()  # while the servers start
                self._install(self._policy)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(dwell_end):
                        await self._fleet.known()
                live = tasks.create_task(self._live.run(), name="manifest")
                following = tasks.create_task(self._reloader.run(watch=self._watch), name="reload")
                await self._live.begun()
                yield
                following.cancel()
                live.cancel()
            finally:
                servers.cancel()
                verifying.cancel()
                watching.cancel()
                writing.cancel()
                learning.cancel()
                judging.cancel()

    async def _refresh(self, loaded: Loaded, causes: Collection[Event]) -> None:
        """Go by another configuration, with the hooks around it. Raises HookFailed, as ``apply``
        raises ConfigError."""
        secrets = await asyncio.to_thread(secrets_of, loaded)
        await self._refreshes.run(causes, lambda: self.apply(loaded, secrets))

    def _refresh_hooks(self) -> RefreshHooks:
        return self._loaded.config.manifests.refresh_event_hooks

    @property
    def sandbox(self) -> SandboxReport:
        """What the sandbox enforces, once it runs."""
        return self._pool.report

    @property
    def has_auth(self) -> bool:
        """Is there anything that needs a token?"""
        return self._policy.has_auth

    def apply(self, loaded: Loaded, secrets: frozenset[str]) -> None:
        """Go by another configuration, whose ``secrets_of`` are these, from now on; what runs ends
        as it began.

        All that may be refused is decided first: raises ConfigError, having changed nothing, where
        this machine cannot enforce it. Then every part follows, whatever happens to another: half
        a configuration would be nobody's. There is no await, so nothing comes in between.
        """
        policy, authority = policy_of(loaded.config), authority_of(loaded)
        profiles, servers, places = profiles_of(policy), wanted(loaded), capacities(policy)
        secrets |= self._secrets
        # With the same one, all that was told without secrets is kept.
        redactor = self._redactor if secrets == self._secrets else Redactor(secrets)
        self._pool.refuse_unenforceable(profiles)
        for setting in of_the_next_start(self._loaded.config, loaded.config):
            log.warning("%s has changed: it counts from the next start on", setting)
        self._policy, self._loaded = policy, loaded
        self.activity.values = loaded.config.page.values
        self._secrets, self._redactor = secrets, redactor
        _complete(
            partial(self._mask, redactor),
            partial(self._pool.apply, profiles),
            partial(self._queues.apply, places),
            partial(self._verifier.use, authority),
            partial(self._install, policy),
            partial(self._fleet.apply, servers),
            partial(self._ledger.use, loaded.config),
            self._live.refresh,
        )

    def console(self) -> "Console":
        """What the page shows, and does."""
        # The page is loaded when somebody first looks at it.
        from mcproxy.page.facts import Health  # noqa: PLC0415
        from mcproxy.page.parts import Console  # noqa: PLC0415

        fleet = self._fleet
        return Console(
            self._published,
            lambda caller: Health(*self._health(usable(self._policy, caller))),
            self._masked,
            self.activity,
            lambda: self._loaded.notes,
            lambda: self._loaded.config.page.enabled,
            lambda: fleet.turned_off,
            {"restart": fleet.restart, "disable": fleet.turn_off, "enable": fleet.turn_on},
            ApprovalRecords(self._decisions),
            self._ledger,
            self._learning.returns,
        )

    async def verified(self, caller: Caller) -> Caller:
        """The caller with what its token proves, where it takes an issuer's keys to know that; may
        wait for them, for a bounded time."""
        unknown = self._policy.identities.need_claims(caller)
        return await self._verifier.verified(caller) if unknown else caller

    def health(self, caller: Caller) -> Json:
        """What ``/health`` tells this caller: servers of namespaces that need no token, and of
        those that its token opens. Raises AccessDenied for a wrong token."""
        places = usable(self._policy, caller)
        told = report(*self._health(places))
        if modes := self.gateway.choices.told({place.name for place in places}):
            told["modes"] = [*modes]
        return self._redactor.json(told)

    def _health(
        self, places: Sequence[Namespace]
    ) -> tuple[Status, Mapping[str, ServerHealth], SandboxReport]:
        servers = self._visible(places)
        uptime = time.monotonic() - self._started
        error = self._reloader.error or self._live.error
        if error and len(servers) < len(self._fleet.health()):
            error = "a refresh is refused; the log has the reason"  # it may name the others
        return Status(uptime, self.gate.closed, error), servers, self._pool.report

    def metrics(self, caller: Caller) -> bytes:
        """What ``/metrics`` tells this caller, of the same servers and of the namespaces that it
        may use. Raises as ``health`` does."""
        uptime, pool = time.monotonic() - self._started, self._pool.stats
        places = usable(self._policy, caller)
        named = {place.name for place in places}
        loads = {name: load for name, load in self._queues.loads().items() if name in named}
        return self._metrics.expose(MetricFacts(uptime, self._visible(places), pool, loads))

    def _visible(self, places: Sequence[Namespace]) -> Mapping[str, ServerHealth]:
        """Their servers, with the tools that some of them have."""
        health = self._fleet.health().items()
        views = [self._published.snapshot.views[place.name].manifest for place in places]
        visible = {name for place in places for name in place.servers}
        return {name: published(views, name, one) for name, one in health if name in visible}

    def _memory_mb(self) -> float:
        """What the gateway and its servers hold, in MiB."""
        servers = sum(one.rss_mb or 0.0 for one in self._fleet.health().values())
        return servers + own_memory_mb()

    def _masked(self, text: str) -> str:
        return self._redactor.text(text)

    def _masked_json(self, value: Json) -> Json:
        return self._redactor.json(value)

    def _install(self, policy: Policy) -> None:
        """Begin to install the packages that scripts may import."""
        for profile in profiles_of(policy).values():
            if profile.packages:
                self._packages.begin(profile.packages)

    def _on_change(self, change: Change) -> None:
        self._live.changed(change)
        self.activity.touch()
        self._noted(self._fleet.health())

    def _on_event(self, server: str, note: Notification, tenant: Tenant | None) -> None:
        self.gateway.heard(server, note, tenant)

    def _publish(self, manifest: Manifest) -> None:
        self._manifest = manifest
        before = self._published.snapshot
        after = take_snapshot(self._policy, manifest, self._redactor, before)
        self._published.snapshot = after
        self.gateway.changed(before)
        self._learning.follow(manifest.visible_to(learned_servers(self._loaded.config)))
        self._show_stubs()
        self._swapped()

    def _show_stubs(self) -> None:
        settings = self._loaded.config.manifests.typed_stub_generation
        learned = WhatIsLearned(self._learning.returns, self._learning.changes)
        self._stubs.show(settings, self._manifest, self._published.snapshot.parts(), learned)


def _folder(loaded: Loaded) -> Path:
    """What relative paths of the configuration are relative to."""
    return loaded.source.parent if loaded.source else Path()


def _complete(*steps: Callable[[], None]) -> None:
    """Take every step, whatever comes of the others; then raise what the first to fail raised."""
    faults: list[Exception] = []
    for step in steps:
        try:
            step()
        except Exception as fault:
            log.exception("a part of the gateway could not follow the changed configuration")
            faults.append(fault)
    if faults:
        raise faults[0]


def profiles_of(policy: Policy) -> Mapping[str, Profile]:
    """What the scripts of each endpoint may do."""
    return {name: profile_for(place.sandbox) for name, place in policy.endpoints.items()}
