"""How many executions and direct calls may be under way in a namespace, and in which one each
counts. Pure: who waits, and for how long, is the matter of ``queues``.

An execution counts in its namespace; in a group, which is no way around the limits of its members,
in every one of them. A direct call counts in the member through which its server is reached. What
a script calls is part of its execution: it takes no further place, so that nothing can wait for
itself.
"""

from collections.abc import Mapping

from mcproxy.policy.access import Policy
from mcproxy.policy.namespaces import Namespace
from mcproxy.types import Capacity


def capacities(policy: Policy) -> Mapping[str, Capacity]:
    """The limits of each namespace that has any, by its name."""
    return {
        name: Capacity(
            place.concurrency.max_running,
            place.concurrency.max_waiting,
            owner=f"Namespace {name!r}",
            things="executions and direct calls",
            setting="concurrency.max_running and max_waiting",
        )
        for name, place in policy.endpoints.items()
        if place.concurrency
    }


def places_of_execution(namespace: Namespace) -> tuple[str, ...]:
    """Where a script of the namespace or group counts."""
    return tuple(member.name for member in namespace.members())


def place_of_call(namespace: Namespace, server: str) -> tuple[str, ...]:
    """Where a client's own call of a tool of ``server`` counts."""
    return (namespace.through(server).name,)
