"""What ``GET /health`` tells. Pure."""

from collections.abc import Collection, Mapping

import msgspec

import mcproxy
from mcproxy.types import JsonObject, SandboxReport, ServerHealth, ServerState

_ILL: Collection[ServerState] = ("failed", "restarting", "unconfigured")


class Status(msgspec.Struct, frozen=True):
    """The program's own part of the report; ``uptime_secs`` since its start, ``config_error``: why
    the changed configuration is not in force."""

    uptime_secs: float
    stopping: bool
    config_error: str | None = None


def report(
    status: Status, servers: Mapping[str, ServerHealth], sandbox: SandboxReport
) -> JsonObject:
    """The report about these servers; ``rss_mb``, of a server's process and all that it started,
    is null until it was measured."""
    shown: JsonObject = {
        name: {
            "state": server.state,
            "tools": server.tools,
            "restarts": server.restarts,
            "pid": server.pid,
            "rss_mb": server.rss_mb and round(server.rss_mb, 1),
            "last_error": server.last_error,
            **_instances(server),
            **_repaired(server),
            **_held(server),
        }
        for name, server in servers.items()
    }
    config: JsonObject = {"config": {"error": status.config_error}} if status.config_error else {}
    return {
        "status": in_a_word(status, servers),
        "version": mcproxy.__version__,
        "uptime_secs": round(status.uptime_secs, 3),
        "servers": shown,
        "tools": sum(server.tools for server in servers.values()),
        "sandbox": {
            "level": sandbox.level,
            "guarantees": dict(sandbox.guarantees),
            "missing": list(sandbox.missing),
        },
        **config,
    }


def in_a_word(status: Status, servers: Mapping[str, ServerHealth]) -> str:
    """How all is: ``ok``, ``degraded`` or ``stopping``."""
    ill = any(server.state in _ILL for server in servers.values())
    return "stopping" if status.stopping else "degraded" if ill else "ok"


def _instances(server: ServerHealth) -> JsonObject:
    return {} if server.instances is None else {"instances": len(server.instances)}


def _held(server: ServerHealth) -> JsonObject:
    return {"held_tools": list(server.held)} if server.held else {}


def _repaired(server: ServerHealth) -> JsonObject:
    return {"repaired_tools": list(server.repairs)} if server.repairs else {}
