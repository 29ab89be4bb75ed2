"""Who may look at the page, and change something with it.

Where the configuration has no auth, whoever sits at this machine; else whoever has shown a token.
The token is kept here, not in the browser, whose cookie is a number that is worth nothing
elsewhere. A change needs a second number, which only our own pages contain (OWASP, "Cross-Site
Request Forgery Prevention", HMAC based token pattern), and must come from one of them.
"""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from mcproxy.observe.activity import SeenExecution
from mcproxy.policy.access import Policy, identify, operates, usable
from mcproxy.policy.namespaces import Namespace
from mcproxy.types import Caller

COOKIE = "mcproxy_page"
SESSION_SECS = 12 * 3600  # since the last use
MAX_SESSIONS = 256  # the one that was not used for longest goes first


class Viewer(msgspec.Struct, frozen=True):
    """Whoever looks: its name as a caller, and what it may use. ``everything``: all there is; then
    it sees what others do too. ``operator``: it settles what waits for a person. ``csrf``: what its
    changes must be sent with."""

    caller: Caller
    name: str
    namespaces: tuple[Namespace, ...]
    everything: bool
    operator: bool
    csrf: str

    @property
    def servers(self) -> frozenset[str]:
        """The names of the servers that it may see."""
        return frozenset(name for place in self.namespaces for name in place.servers)

    def sees(self, execution: SeenExecution) -> bool:
        """Whether an execution is shown: one's own, and where one may use everything, all."""
        own = execution.caller == self.name
        used = {place.name for place in self.namespaces}
        return self.everything or (own and execution.namespace in used)

    def wants(self, shown: str) -> bool:
        """Whether a change that was sent with this is one of our pages'."""
        return hmac.compare_digest(self.csrf.encode(), shown.encode("utf-8", "replace"))


def viewer_of(policy: Policy, caller: Caller, csrf: str) -> Viewer:
    """What the caller sees. Raises AccessDenied for a wrong token."""
    namespaces = usable(policy, caller)
    everything = len(namespaces) == len(policy.endpoints)
    operator = operates(policy, caller) or not policy.has_auth
    return Viewer(caller, identify(policy, caller), namespaces, everything, operator, csrf)


class PageSessions:
    """The tokens that were shown, by the number in the browser's cookie."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._sessions: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def open(self, token: str) -> str:
        """Keep a token; gives the number of the new session."""
        id_ = secrets.token_urlsafe(32)
        self._sessions[id_] = (token, self._clock() + SESSION_SECS)
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return id_

    def token(self, id_: str) -> str | None:
        """The token of a session that has not ended, which is used now."""
        token, until = self._sessions.pop(id_, ("", 0.0))
        now = self._clock()
        if now >= until:
            return None
        self._sessions[id_] = (token, now + SESSION_SECS)
        return token

    def close(self, id_: str) -> None:
        """End a session."""
        self._sessions.pop(id_, None)

    def csrf(self, id_: str) -> str:
        """What changes of a session must be sent with; "" is whoever needs none."""
        return hmac.new(self._secret, id_.encode(), hashlib.sha256).hexdigest()
