"""From the configuration to what the fleet needs of each server. Pure.

``key`` tells whether a server must start anew: it stands for the command or URL with all that goes
to it, resolved variables included, and for nothing else. A limit, a description or what is done
before a start changes without.
"""

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePath
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from mcproxy.config.environment import child_environment
from mcproxy.config.inherit import env_isolated
from mcproxy.config.load import Loaded
from mcproxy.config.model import ServerConfig
from mcproxy.hooks import Hooks, Occasion
from mcproxy.types import Discreet, ServerHealth
from mcproxy.upstream.child import stdio
from mcproxy.upstream.child.stdio import Command
from mcproxy.upstream.openapi import connection as openapi
from mcproxy.upstream.remote import connection as remote
from mcproxy.upstream.remote.tokens import login_path
from mcproxy.upstream.supervision.calls import CallTimes
from mcproxy.upstream.supervision.restart import REMOTE
from mcproxy.upstream.supervision.server_limits import (
    Connector,
    ProcessLimits,
    ServerLimits,
    Sharing,
)

CHILD_START_SECS = 300.0  # `npx` and `uvx` download the server first; its death is seen at once
REMOTE_START_SECS = 60.0

_CONTAINERS = ("docker", "podman")


class Definition(Discreet, frozen=True):
    """One server that is to run; ``way`` may differ for one ``key`` in what precedes a start."""

    name: str
    key: str
    way: Connector
    terms: ServerLimits
    hidden: ClassVar = frozenset({"key", "way"})


def definitions(loaded: Loaded) -> Mapping[str, Definition]:
    """The servers that are to run, by name."""
    return {
        name: _definition(name, server, loaded)
        for name, server in loaded.config.servers.items()
        if server.enabled and name not in loaded.unconfigured
    }


def not_running(loaded: Loaded) -> Mapping[str, ServerHealth]:
    """The others, with the reason."""
    return {
        name: ServerHealth("unconfigured", last_error=loaded.unconfigured.get(name))
        if server.enabled
        else ServerHealth("disabled")
        for name, server in loaded.config.servers.items()
        if not server.enabled or name in loaded.unconfigured
    }


def _definition(name: str, server: ServerConfig, loaded: Loaded) -> Definition:
    terms = ServerLimits(
        CallTimes(server.timeout_secs, server.tool_timeouts, server.sandbox.timeout_secs),
        server.description or "",
        server.start_timeout_secs or (CHILD_START_SECS if server.command else REMOTE_START_SECS),
        server.manifests.startup_dwell_secs or 0.0,
        _upkeep(server, loaded),
        Sharing(server.affinity, server.max_instances, server.instance_idle_secs),
    )
    if server.openapi:
        api = (server.openapi, server.base_url, server.headers, server.credentials)
        key = _key(("openapi", *api, server.operations, server.refresh_secs))
        return Definition(
            name, key, Connector(partial(openapi.connect, name, server), REMOTE), terms
        )
    if server.url:
        parts = (server.url, server.transport, server.headers)
        login = login_path(loaded.environment, name)
        way = Connector(partial(remote.connect, name, server, login), REMOTE)
        return Definition(name, _key(parts), way, terms)
    isolated = env_isolated(loaded.config, name)
    env = child_environment(loaded.environment, server.env, isolated=isolated)
    cwd = Path(server.cwd).expanduser() if server.cwd else None
    command = Command([server.command or "", *server.args], env, cwd)
    hooks = server.refresh_hooks.pre_start
    prepare = partial(Hooks({}, loaded.environment).run, hooks, Occasion("pre_start", name))
    way = Connector(partial(stdio.connect, name, _pulling(command, server), prepare))
    return Definition(name, _key(command), way, terms)


def _pulling(command: Command, server: ServerConfig) -> Command:
    """The hook ``pull_image``: docker and podman can pull before they run, if told to."""
    program, *arguments = command.argv
    asked = any(hook.name == "pull_image" for hook in server.refresh_hooks.pre_start)
    if asked and PurePath(program).name in _CONTAINERS and arguments[:1] == ["run"]:
        return replace(command, argv=[program, "run", "--pull=always", *arguments[1:]])
    return command


def _upkeep(server: ServerConfig, loaded: Loaded) -> ProcessLimits:
    """A remote server has no process here, so nothing of it can be too large or too old.

    Where clients have instances of their own, the one that tells the tools is seldom needed.
    """
    spare = None if server.affinity == "shared" else server.instance_idle_secs
    if not server.command:
        return ProcessLimits(idle_secs=spare)
    ttl = loaded.config.manifests.per_server_ttl
    age, idle = (ttl.default_secs, ttl.max_idle_secs) if ttl.enabled else (None, None)
    unused = [secs for secs in (idle, spare) if secs is not None]
    return ProcessLimits(server.sandbox.memory_mb, age, min(unused, default=None))


def _key(parts: object) -> str:
    text = msgspec.json.encode(parts, order="deterministic", enc_hook=str)
    return hashlib.sha256(text).hexdigest()
