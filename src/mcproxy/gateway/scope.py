"""Where a request stands: who asks, in which namespace, and what can be seen there."""

from dataclasses import dataclass

from mcproxy.config.model import Mode
from mcproxy.gateway.snapshot import View
from mcproxy.policy.namespaces import Namespace


@dataclass(frozen=True, slots=True)
class Scope:
    """The caller's name, its namespace, what can be seen there, and as which tools."""

    caller: str
    namespace: Namespace
    view: View
    mode: Mode
