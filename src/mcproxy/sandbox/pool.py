"""Runs scripts in sandboxed workers: a ``RunCode``, and the owner of all sandbox processes.

Finds the best level that this machine proves, keeps one lane of workers for each profile, and turns
whatever becomes of a worker into an ``Outcome``. How a script is served is for ``bridge``, what
surrounds it for ``jail``.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from functools import partial
from typing import Literal, Self

import msgspec
from msgspec.structs import replace

from mcproxy.cancellation import finish
from mcproxy.errors import ConfigError, SandboxUnavailable
from mcproxy.queues import Queues
from mcproxy.sandbox import bridge, exit_reason, levels, process_runner, selftest
from mcproxy.sandbox.jail.walls import Wall, Walls
from mcproxy.sandbox.levels import LevelFailure, lacking
from mcproxy.sandbox.packages import Installed, PackagesUnavailable
from mcproxy.sandbox.profile import Profile, refusals, walls_for
from mcproxy.sandbox.selftest import NOT_ENFORCED, MakeSeat
from mcproxy.sandbox.worker_pool import CLOSE_SECS, EgressListener, Lane
from mcproxy.sandbox.worker_slot import WorkerSlot
from mcproxy.sandbox.zygote_process import ZygoteFailed, ZygoteReady
from mcproxy.shortage import SCARCE_SECS
from mcproxy.types import (
    LEVELS,
    CallTool,
    Capacity,
    Job,
    Level,
    Limits,
    Outcome,
    PoolStats,
    SandboxReport,
    ScriptError,
    ToolRef,
)

START_TRIES = 4  # of a level, while the machine lacks what it takes: a quarter of a minute
MOST_RUNNING = 64  # scripts at once, those that ask somebody too: each is a process
MOST_WAITING = 256  # some 50 KiB of code each, and a client behind it

CAPACITY = Capacity(MOST_RUNNING, MOST_WAITING, owner="The sandbox", things="scripts")
_ALL = ""  # the one place of all scripts
_EXECUTE = ToolRef("", "execute")

log = logging.getLogger(__name__)


class PoolSettings(msgspec.Struct, frozen=True):
    """``size``: workers kept ready for each profile. ``package_path``: folders with requests, httpx
    and the like, seen by profiles that have a network. ``capacity``: scripts at once, over all
    profiles. ``withhold`` is for tests."""

    level: Literal["auto", Level] = "auto"
    min_level: Level = "hardened"
    size: int = 2
    package_path: tuple[str, ...] = ()
    capacity: Capacity = CAPACITY
    withhold: tuple[Wall, ...] = ()


class Pool:
    """An async context manager; ``start`` it before ``run``. Leaving it leaves no process.

    ``profiles`` maps the names that jobs use. ``egress`` makes the proxy of a profile; without it
    scripts have no network. ``packages`` says where a profile's packages are, or raises
    PackagesUnavailable; without it there are none.
    """

    def __init__(
        self,
        settings: PoolSettings,
        profiles: Mapping[str, Profile],
        egress: Callable[[Profile], EgressListener] | None = None,
        packages: Callable[[Sequence[str]], Installed] | None = None,
    ) -> None:
        self._settings, self._egress, self._packages = settings, egress, packages
        self._profiles = dict(profiles)
        self._lanes: dict[Profile, Lane] = {}
        self._tasks = asyncio.TaskGroup()
        self._serving: set[asyncio.Task[None]] = set()
        self._queues = Queues({_ALL: settings.capacity})
        self._executions = 0
        self._restarts = 0  # of lanes that have retired
        self._above: tuple[str, ...] = ()  # why no better level was reached
        self.report = SandboxReport("none")

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await finish(self.aclose(), CLOSE_SECS)
        finally:
            await self._tasks.__aexit__(None, None, None)  # whatever was raised stays as it is

    @property
    def stats(self) -> PoolStats:
        """How much goes on now, and went on since the start."""
        lanes, load = self._lanes.values(), self._queues.loads()[_ALL]
        return PoolStats(
            ready=sum(lane.ready for lane in lanes),
            running=load.running,
            waiting=load.waiting,
            executions=self._executions,
            restarts=self._restarts + sum(lane.restarts for lane in lanes),
        )

    async def start(self) -> SandboxReport:
        """Find the best level, prove it with the first profile, begin to keep workers ready.

        Raises SandboxUnavailable below ``min_level``; ConfigError for profiles that the level
        found cannot enforce.
        """
        settings = self._settings
        failures: list[LevelFailure] = []
        for level in levels.candidates(settings.level, settings.min_level):
            failure = await self._reach(level)
            if failure is None:
                self.refuse_unenforceable(self._profiles)
                missing = f"; missing: {'; '.join(self.report.missing)}"
                log.info("sandbox: level %s%s", level, missing if self.report.missing else "")
                return self.report
            failures.append(failure)
            self._above = tuple(map(str, failures))
        raise await self._unavailable(failures)

    def apply(self, profiles: Mapping[str, Profile]) -> None:
        """Use other profiles from now on; what runs ends as it began.

        Raises ConfigError, and changes nothing, for profiles that the level cannot enforce.
        """
        self.refuse_unenforceable(profiles)
        self._profiles = dict(profiles)
        for profile in set(self._lanes) - set(profiles.values()):
            lane = self._lanes.pop(profile)
            self._restarts += lane.restarts
            lane.retire()

    async def run(self, job: Job, call: CallTool) -> Outcome:
        """Run one script at the level of ``report``; what fails is in the outcome.

        Raises Busy where as many are under way as may, and this one cannot wait any more. The
        profiles of those that wait take turns.
        """
        async with self._queues.entered(_EXECUTE, (_ALL,), job.profile):
            profile = self._profiles.get(job.profile)
            if profile is None:  # taken away by a reload after the job was made
                return _no_worker(ZygoteFailed(f"namespace {job.profile!r} is gone"))
            self._executions += 1
            try:
                if self.report.level == "none":
                    return await process_runner.run(job, call, self._installed(profile).path)
                async with self._lane(profile).worker() as seat:
                    return await bridge.serve(
                        seat.worker.line, job, call, lambda: _explain(seat, job.limits)
                    )
            except (ZygoteFailed, TimeoutError) as error:
                return _no_worker(error)
            except PackagesUnavailable as error:
                return _no_packages(error)

    async def aclose(self) -> None:
        """Stop everything, running scripts too; no process is left."""
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)
        for lane in self._lanes.values():  # a task that is cancelled before it began closes nothing
            await lane.close()
        self._lanes.clear()

    async def _reach(self, level: Level) -> LevelFailure | None:
        """Try ``level``; on success ``report`` is set and its first lane serves."""
        self.report = SandboxReport(level, dict.fromkeys(selftest.GUARANTEES, NOT_ENFORCED))
        if level == "none":
            return None
        profile = replace(next(iter(self._profiles.values()), Profile()), packages=())
        lane = self._new_lane(profile)
        try:
            await _start(lane)
        except (ZygoteFailed, TimeoutError) as error:
            await lane.close()
            return LevelFailure(
                level, str(error) or "no answer in time", getattr(error, "errno", None)
            )
        if profile in self._profiles.values():
            self._serve(profile, lane)
        else:
            await lane.close()
        return None

    async def _unavailable(self, failures: Sequence[LevelFailure]) -> SandboxUnavailable:
        """What to raise, having looked which lower level this machine would reach."""
        lowest = self._settings.min_level
        reached: Level = "none"
        for level in LEVELS[LEVELS.index(lowest) + 1 :]:
            if await self._reach(level) is None:
                reached = level
                break
        worst = (
            failures[-1] if failures else LevelFailure(reached, "sandbox.level is below min_level")
        )
        return SandboxUnavailable(reached, lowest, worst.reason, levels.cure(worst))

    def refuse_unenforceable(self, profiles: Mapping[str, Profile]) -> None:
        """Raise ConfigError for profiles that the level cannot enforce."""
        level = self.report.level
        problems = [fault for one in profiles.values() for fault in refusals(one, level)]
        if problems:
            raise ConfigError("sandbox", list(dict.fromkeys(problems)))

    def _lane(self, profile: Profile) -> Lane:
        lane = self._lanes.get(profile)
        if lane is None:
            lane = self._new_lane(profile)
            self._serve(profile, lane)
        return lane

    def _new_lane(self, profile: Profile) -> Lane:
        egress = self._egress(profile) if self._egress and profile.allowed_hosts else None
        installed = self._installed(profile)
        libraries = self._settings.package_path if egress else ()
        walls = walls_for(
            profile if egress else replace(profile, allowed_hosts=()),
            self.report.level,
            package_path=(*installed.path, *libraries),
            modules=installed.modules,
            withhold=self._settings.withhold,
        )
        check = partial(self._check, profile, walls)
        return Lane(walls, self._settings.size, check, self._tasks, egress)

    def _installed(self, profile: Profile) -> Installed:
        if self._packages and profile.packages:
            return self._packages(profile.packages)
        return Installed()

    def _serve(self, profile: Profile, lane: Lane) -> None:
        self._lanes[profile] = lane
        # A script may be the first to need it: it outlives that request, and must not keep it.
        task = self._tasks.create_task(lane.serve(), context=Context())
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _check(
        self, profile: Profile, walls: Walls, ready: ZygoteReady, make_seat: MakeSeat
    ) -> None:
        """Judge a new zygote; what it says is the report from now on."""
        level = self.report.level
        findings = await selftest.examine(make_seat, profile.limits, network=walls.network)
        verdict = selftest.judge(level, ready.landlock_abi, findings, cgroup=ready.cgroup)
        if verdict.broken:
            raise ZygoteFailed("self-test: " + "; ".join(verdict.broken))
        missing = (*self._above, *lacking(level, ready))
        self.report = SandboxReport(level, verdict.guarantees, missing)


def egress_of(profile: Profile) -> EgressListener:
    """The proxy of a profile. It is loaded with the first one: few scripts have a network."""
    from mcproxy.sandbox.network.egress import Egress  # noqa: PLC0415

    return Egress(profile.allowed_hosts)


async def _start(lane: Lane) -> None:
    """Start it, again where the machine has no means: that must cost no level."""
    for _ in range(START_TRIES - 1):
        try:
            return await lane.start()
        except ZygoteFailed as error:
            if not error.scarce:
                raise
            log.warning("the sandbox waits: %s; tried again in %g s", error, SCARCE_SECS)
        await asyncio.sleep(SCARCE_SECS)
    return await lane.start()


async def _explain(seat: WorkerSlot, limits: Limits) -> ScriptError:
    return exit_reason.explain(await seat.fate(), limits, seat.over)


def _no_packages(error: PackagesUnavailable) -> Outcome:
    hint = "Try again in a minute." if error.retryable else "Ask the operator (sandbox.packages)."
    return Outcome(
        error=ScriptError("SandboxError", error.reason, hint=hint, retryable=error.retryable)
    )


def _no_worker(error: ZygoteFailed | TimeoutError) -> Outcome:
    reason = str(error) or "no worker came in time"
    hint = "It heals itself; try again in some seconds. `mcproxy doctor` shows the self-test."
    return Outcome(
        error=ScriptError(
            "SandboxError", f"No sandbox for the script: {reason}.", hint=hint, retryable=True
        )
    )
