"""Whose a message of a server may be beside those whose requests are under way. No I/O.

Whoever cancels a request, or no longer waits for it, cannot know when the server stops; until then
what the server asks or says may belong to it. An answer that comes late settles the matter. Where
messages come on several streams, what was sent before an answer may arrive after it.
"""

from mcproxy.exchange import Tenant

MAY_WORK_SECS = 600.0  # as long as a person may be asked; what a server does takes less
LAG_SECS = 2.0  # longer than a network delays one of two streams
MAX_KEPT = 256  # of each kind; beyond, it is not remembered whose they are, only that they are


class PossibleOwners:
    """Tenants, each for a bounded time. ``now`` is in seconds, of any clock that never goes back.

    ``lag_secs``: how long after an answer there may be messages that were sent before it.
    """

    def __init__(self, lag_secs: float = 0.0) -> None:
        self._lag_secs = lag_secs
        self._given_up: dict[int, tuple[Tenant, float]] = {}
        self._answered: dict[Tenant, float] = {}
        self._anybody_until = 0.0

    def gave_up(self, id_: int, tenant: Tenant, now: float) -> None:
        """A request was given up without an answer."""
        self._given_up[id_] = tenant, now + MAY_WORK_SECS
        if len(self._given_up) > MAX_KEPT:
            _, until = self._given_up.pop(next(iter(self._given_up)))
            self._anybody_until = max(self._anybody_until, until)

    def answered_late(self, id_: int) -> None:
        """The server is done with a request that was given up."""
        self._given_up.pop(id_, None)

    def answered(self, tenant: Tenant, now: float) -> None:
        """The server is done with a request."""
        if not self._lag_secs:
            return
        self._answered.pop(tenant, None)  # so that the oldest is always the first
        self._answered[tenant] = now + self._lag_secs
        if len(self._answered) > MAX_KEPT:
            until = self._answered.pop(next(iter(self._answered)))
            self._anybody_until = max(self._anybody_until, until)

    def only(self, tenant: Tenant, now: float) -> bool:
        """Whether there is no other than this one."""
        if self._anybody_until > now:
            return False
        self._given_up = {id_: one for id_, one in self._given_up.items() if one[1] > now}
        self._answered = {one: until for one, until in self._answered.items() if until > now}
        others = (*(each for each, _ in self._given_up.values()), *self._answered)
        return all(each == tenant for each in others)
