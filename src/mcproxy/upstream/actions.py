"""What an operator can have done to all servers by name, see ``refresh_event_hooks``."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from mcproxy.upstream.fleet import Fleet

log = logging.getLogger(__name__)


def fleet_actions(fleet: Fleet) -> Mapping[str, Callable[[], Awaitable[None]]]:
    """The actions by their names.

    ``health_check_all`` tells who is ill and stops nothing: a refresh may be what cures it.
    ``drain_connections`` waits, bounded, until no call is under way; what still runs goes on.
    """

    async def health_check_all() -> None:
        for name, reason in (await fleet.check()).items():
            log.warning("%s: ill: %s", name, reason)

    async def drain_connections() -> None:
        if not await fleet.drained():
            log.warning("some calls are still under way")

    async def restart_failed() -> None:
        fleet.restart_failed()

    async def notify_monitors() -> None:
        states = Counter(health.state for health in fleet.health().values())
        told = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        log.info("servers after the refresh: %s", told)

    return {
        "health_check_all": health_check_all,
        "drain_connections": drain_connections,
        "restart_failed": restart_failed,
        "notify_monitors": notify_monitors,
    }
