"""What each namespace comes to once inheritance is resolved. Pure, done once for a configuration.

Everything that asks "may it, and how much?" reads a ``Namespace``; nobody walks ``extends`` again.
Callers and tokens are ``access``'s matter.
"""

from collections.abc import Mapping
from functools import cached_property

import msgspec

from mcproxy.config.inherit import all_namespaces, lineage, merged_sandbox, parents
from mcproxy.config.model import AskFor, Concurrency, Config, Mode, NamespaceConfig
from mcproxy.config.sandbox import Sandbox
from mcproxy.policy.tool_rules import NO_RULES, ToolRules, rules_of
from mcproxy.types import Limits


class Namespace(msgspec.Struct, frozen=True, dict=True):
    """A set of servers and the terms for using them.

    ``servers`` are the reachable ones, its own first. ``rate_limit`` is in upstream calls a minute
    and caller; ``concurrency`` is over all callers. ``allowed_origins`` None: any origin.
    ``learned`` are the servers of whose results the types are learned.
    ``sandbox`` is merged: its ``network``, ``filesystem`` and ``packages`` are those of the
    namespace's scripts. ``tools``: which tools may be used, see ``tool_rules``.
    """

    name: str
    servers: tuple[str, ...]
    limits: Limits
    sandbox: Sandbox
    mode: Mode = "code"
    rate_limit: int | None = None
    concurrency: Concurrency | None = None
    require_auth: bool = False
    allowed_origins: tuple[str, ...] | None = None
    isolated: bool = False
    learned: frozenset[str] = frozenset()
    tools: ToolRules = NO_RULES

    @property
    def read_only(self) -> bool:
        """Are there only tools that are annotated as read-only?"""
        return bool(self.tools.read_only)

    @property
    def ask_for(self) -> AskFor:
        """Of which tools that no pattern names each call is asked for."""
        return self.tools.ask_for

    @cached_property
    def members(self) -> tuple["Namespace", ...]:
        """The namespaces whose conditions a caller must all meet."""
        return (self,)

    def through(self, server: str) -> "Namespace":
        """The namespace in which a call to ``server`` is made, and counted."""
        return self


def resolve(config: Config) -> Mapping[str, Namespace]:
    """Every namespace by name, the default one included. The configuration must be checked."""
    sections = all_namespaces(config)
    extends = parents(config)
    own = own_servers(config, sections)
    return {name: _resolved(config, name, lineage(extends, name), own) for name in sections}


def limits_of(sandbox: Sandbox) -> Limits:
    """What one script may use, the limits that cannot be configured included."""
    return Limits(
        timeout_secs=sandbox.timeout_secs,
        memory_mb=sandbox.memory_mb,
        max_calls=sandbox.max_calls,
    )


def _resolved(
    config: Config, name: str, line: tuple[str, ...], own: Mapping[str, tuple[str, ...]]
) -> Namespace:
    sections = all_namespaces(config)
    ancestry = [sections[each] for each in line]
    sandbox = merged_sandbox(config, line)
    modes = (section.mode for section in ancestry if section.mode)
    rates = (section.rate_limit for section in ancestry if section.rate_limit)
    origins = (section.allowed_origins for section in ancestry)
    said = (section.learn_results for section in ancestry if section.learn_results is not None)
    places = (section.concurrency for section in ancestry if section.concurrency)
    rate, learns = next(rates, None), next(said, True)
    servers = tuple(dict.fromkeys(server for each in line for server in own[each]))
    return Namespace(
        name,
        servers=servers,
        limits=limits_of(sandbox),
        sandbox=sandbox,
        mode=next(modes, "code"),
        rate_limit=rate.requests_per_minute if rate else None,
        concurrency=next(places, None),
        require_auth=any(section.require_auth for section in ancestry),
        allowed_origins=next((each for each in origins if each is not None), None),
        isolated=sections[name].isolated,
        learned=learned_servers(config) if learns else frozenset(),
        tools=rules_of(config, sections, line),
    )


def learned_servers(config: Config) -> frozenset[str]:
    """The servers of whose results the types are learned, unless a namespace forbids it."""
    return frozenset(name for name, server in config.servers.items() if server.learn_results)


def own_servers(
    config: Config, sections: Mapping[str, NamespaceConfig]
) -> Mapping[str, tuple[str, ...]]:
    """By namespace: the servers that it lists, then those that name it, in the file's order."""
    own = {name: list(section.servers) for name, section in sections.items()}
    listed = {server for servers in own.values() for server in servers}
    for name, server in config.servers.items():
        if server.namespace is not None:
            own[server.namespace].append(name)
        elif name not in listed:
            own[config.sandbox.default_namespace].append(name)
    return {name: tuple(dict.fromkeys(servers)) for name, servers in own.items()}
