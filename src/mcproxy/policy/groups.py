"""Groups: endpoints over several namespaces. Pure.

A call is made, and counted, in the member through which its server is reached. A script belongs to
no single member, so it runs under the strictest terms of all: otherwise the open network of one
member would be a way out for what another one keeps in.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, reduce

from mcproxy.config.model import Config
from mcproxy.config.sandbox import Filesystem, Network, Sandbox
from mcproxy.policy.namespaces import Namespace, limits_of


class Group(Namespace, frozen=True):
    """Several namespaces as one endpoint, members in the order of the configuration."""

    parts: tuple[Namespace, ...] = ()

    @cached_property
    def members(self) -> tuple[Namespace, ...]:
        """The namespaces whose conditions a caller must all meet."""
        return self.parts

    def through(self, server: str) -> Namespace:
        """The first member that reaches ``server``; the group itself for an unknown one."""
        return next((part for part in self.parts if server in part.servers), self)


def resolve_groups(config: Config, namespaces: Mapping[str, Namespace]) -> Mapping[str, Group]:
    """Every group by name. The configuration must be checked."""
    return {
        name: _group(name, [namespaces[member.removeprefix("!")] for member in section.namespaces])
        for name, section in config.groups.items()
    }


def _group(name: str, parts: Sequence[Namespace]) -> Group:
    sandbox = reduce(strictest, (part.sandbox for part in parts))
    modes = {part.mode for part in parts}
    return Group(
        name,
        servers=tuple(dict.fromkeys(server for part in parts for server in part.servers)),
        limits=limits_of(sandbox),
        sandbox=sandbox,
        mode=parts[0].mode if len(modes) == 1 else "code",
        require_auth=any(part.require_auth for part in parts),
        parts=tuple(parts),
    )


def strictest(one: Sandbox, other: Sandbox) -> Sandbox:
    """What both allow. Packages are not a right but a tool: those of both are there."""
    network = Network(
        enabled=one.network.enabled and other.network.enabled,
        allowed_hosts=_hosts_of_both(one.network.allowed_hosts, other.network.allowed_hosts),
    )
    filesystem = Filesystem(
        read_only=_in_both(one.filesystem.read_only, other.filesystem.read_only),
        read_write=_in_both(one.filesystem.read_write, other.filesystem.read_write),
        denied=_distinct((*one.filesystem.denied, *other.filesystem.denied)),
    )
    return one.model_copy(
        update={
            "timeout_secs": min(one.timeout_secs, other.timeout_secs),
            "memory_mb": min(one.memory_mb, other.memory_mb),
            "max_calls": min(one.max_calls, other.max_calls),
            "packages": _distinct((*one.packages, *other.packages)),
            "network": network,
            "filesystem": filesystem,
        }
    )


def _hosts_of_both(one: Sequence[str], other: Sequence[str]) -> tuple[str, ...]:
    return _distinct(
        [host for host in one if any(_covers(pattern, host) for pattern in other)]
        + [host for host in other if any(_covers(pattern, host) for pattern in one)]
    )


def _covers(pattern: str, host: str) -> bool:
    """Does ``pattern`` allow all that ``host``, a host or itself a pattern, stands for?"""
    below = pattern.startswith("*.") and host.endswith(pattern[1:])
    return pattern in ("*", host) or below


def _in_both(one: Sequence[str], other: Sequence[str]) -> tuple[str, ...]:
    return tuple(each for each in one if each in other)


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
