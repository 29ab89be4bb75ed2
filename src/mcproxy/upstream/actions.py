"""What an operator can have done to all servers by name, see ``refresh_event_hooks``."""

import logging
from collections import Counter
from collections.abc import Mapping

from mcproxy.hooks import Action, Occasion
from mcproxy.upstream.fleet import Fleet
from mcproxy.upstream.serverlog import ServerLog

log = logging.getLogger(__name__)


def fleet_actions(fleet: Fleet) -> Mapping[str, Action]:
    """The actions by their names.

    ``health_check_all`` tells who is ill and stops nothing: a refresh may be what cures it.
    ``drain_connections`` waits, bounded, until no call is under way; what still runs goes on.
    ``restart_failed`` does nothing on ``server_health``: a server that was just given up would be
    revived by its own failure, without end.
    """

    async def health_check_all(occasion: Occasion) -> None:
        for name, reason in (await fleet.check()).items():
            ServerLog(log, name).warning("ill: %s", reason)

    async def drain_connections(occasion: Occasion) -> None:
        if not await fleet.drained():
            log.warning("some calls are still under way")

    async def restart_failed(occasion: Occasion) -> None:
        if occasion.event != "server_health":
            fleet.restart_failed()

    async def notify_monitors(occasion: Occasion) -> None:
        states = Counter(health.state for health in fleet.health().values())
        told = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        log.info("servers after the refresh: %s", told)

    return {
        "health_check_all": health_check_all,
        "drain_connections": drain_connections,
        "restart_failed": restart_failed,
        "notify_monitors": notify_monitors,
    }
