"""Every long-lived task ends when it is cancelled, wherever it waits, and leaves nothing behind.

``SITES`` lists every place in ``src/`` that begins a task; a test compares both ways, so that a new
one is driven too, or says why it need not be.
"""

import ast
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import mcproxy
from tests.cancellation import more_scenarios, scenarios
from tests.cancellation.driver import Scenario, check

SOURCE = Path(mcproxy.__file__).parent
BEGINS = "create_task"

hardened = partial(scenarios.scripts, "hardened")
strict = partial(scenarios.scripts, "strict")

TARGETS: list[tuple[Scenario, str]] = [
    (scenarios.child, "Supervisor.run"),
    (scenarios.child, "Fleet.run"),
    (scenarios.stubborn, "Supervisor.run"),
    (scenarios.replaced, "ServerTable._replace"),
    (scenarios.replaced, "SupervisorTasks.end"),
    (scenarios.instances, "_run_until"),
    (scenarios.remote, "Supervisor.run"),
    (scenarios.remote, "Streamable._ask"),
    (scenarios.remote, "Streamable._begun"),
    (scenarios.sse, "Supervisor.run"),
    (scenarios.sse, "Sse._listen"),
    (scenarios.sse, "Sse._send"),
    (strict, "Lane.serve"),
    (strict, "Egress.serve_listener"),
    (strict, "Egress._serve"),
    (hardened, "Lane.serve"),
    (hardened, "Egress.serve_dials"),
    (hardened, "WorkerSlot._watch"),
    (hardened, "ScriptCalls._answer"),
    (scenarios.frontends, "Sessions._keep_sweeping"),
    (scenarios.frontends, "Conversation._start.<locals>.answered"),
    (scenarios.frontends, "Answer._written"),
    (scenarios.hook, "hook.<locals>.scenario.<locals>.run"),
    (scenarios.manifest, "Live.run"),
    (scenarios.manifest, "Live._answer_bursts"),
    (scenarios.stubs, "StubWriter.run"),
    (more_scenarios.learning, "Learning.run"),
    (more_scenarios.ledger, "DefinitionLedger.run"),
    (scenarios.reload, "Reloader.run"),
    (scenarios.reload, "Reloader._watch"),
    (scenarios.verifier, "Verifier.run"),
    (scenarios.frontends, "Connections.run"),
    (scenarios.frontends, "HttpConnection._serve"),
    (scenarios.frontends, "answer_batch.<locals>.work"),
    (strict, "_send_body"),
    (more_scenarios.suspended, "SuspendedCall._run"),
    (more_scenarios.tasked, "SuspendedCall._run"),
    (more_scenarios.awaited, "await_a_task"),
    (more_scenarios.awaited, "_ask_client"),
    (more_scenarios.shared, "SharedStore._run"),
    (more_scenarios.shared, "SharedStore._keep_purging"),
    (more_scenarios.relayed, "Relay._ask"),
    (more_scenarios.relayed, "Supervisor.answers"),
    (more_scenarios.packages, "Packages._install"),
    (more_scenarios.over_stdio, "over_stdio.<locals>.scenario.<locals>.run"),
    (more_scenarios.over_stdio, "serve"),
    (more_scenarios.over_stdio, "StopSignal.wait"),
    (more_scenarios.over_stdio, "_Output.write_all"),
    (more_scenarios.over_http, "over_http.<locals>.scenario.<locals>.run"),
    (more_scenarios.over_http, "Live.run"),
    (more_scenarios.over_http, "Activity.run"),
    (more_scenarios.over_http, "Fleet.run"),
]


# What such a task runs, by the place that begins it; the names in ``BRIEF`` are not driven.
SITES: dict[str, tuple[str, ...]] = {
    "app.py App _running_on_stores": (
        *("Fleet.run", "Verifier.run", "StubWriter.run", "Learning.run"),
        *("Live.run", "Reloader.run", "Activity.run", "DefinitionLedger.run"),
    ),
    "cancellation.py begin": ("create_subprocess_exec", "connect_read_pipe"),
    "cancellation.py finish": ("finish",),
    "frontends/http_connection.py HttpConnection _begin": ("HttpConnection._serve",),
    "frontends/plain.py answer_batch": ("answer_batch.<locals>.work",),
    "frontends/sessions.py Sessions running": ("Sessions._keep_sweeping",),
    "frontends/sessions.py Sessions run": (
        "Conversation._start.<locals>.answered",
        "Answer._written",
    ),
    "frontends/shared_routing.py SharedSite running": ("SharedSessions.run",),
    "frontends/stdio.py _serve": ("_Output.write_all",),
    "gateway/extensions/skills.py _Skills _having": ("_Skills._having.<locals>.has",),
    "gateway/server_requests.py items": ("of",),
    "gateway/suspended_call.py SuspendedCall start": ("SuspendedCall._run",),
    "manifest/live.py Live run": ("Live._answer_bursts",),
    "login.py _first": ("_answer",),
    "policy/verifier.py Verifier run": ("Authority.run",),
    "reload.py Reloader run": ("Reloader._watch",),
    "sandbox/bridge.py ScriptCalls take": ("ScriptCalls._answer", "ScriptCalls._answer_alone"),
    "sandbox/bridge.py ScriptCalls _one_too_many": ("ScriptCalls._refuse",),
    "sandbox/worker_pool.py Lane _start": ("Egress.serve_listener",),
    "sandbox/network/egress.py Egress serve_listener": ("Egress._serve",),
    "sandbox/network/egress.py Egress serve_dials": ("Egress._serve",),
    "sandbox/network/relay.py tunnel": ("_pump",),
    "sandbox/network/relay.py exchange": ("_send_body",),
    "sandbox/packages.py Packages _begin": ("Packages._install",),
    "sandbox/pool.py Pool _serve": ("Lane.serve",),
    "sandbox/selftest.py examine": ("_ends_in_time",),
    "sandbox/worker_slot.py WorkerSlot attended": ("WorkerSlot._watch", "Egress.serve_dials"),
    "serve.py serve_http": ("Connections.run",),
    "serve.py serve_stdio": ("serve", "StopSignal.wait"),
    "store/shared_store.py SharedStore __aenter__": (
        "SharedStore._run",
        "SharedStore._keep_purging",
    ),
    "trial.py _running": ("Fleet.run",),
    "upstream/fleet.py Fleet check": ("Supervisor.answers",),
    "upstream/supervisor_tasks.py SupervisorTasks begin": ("Supervisor.run", "_run_until"),
    "upstream/supervisor_tasks.py SupervisorTasks spawn": (
        "SupervisorTasks.end",
        "ServerTable._replace",
    ),
    "upstream/supervisor_tasks.py _run_until": ("Supervisor.run",),
    "upstream/protocol/relay.py Relay _pass_on": ("Relay._ask",),
    "upstream/protocol/relay.py answers": ("_ask_client",),
    "upstream/remote/login_callback.py Landing answer": ("Landing._accept",),
    "upstream/remote/login_callback.py Landing _accept": ("_serve",),
    "upstream/remote/http_channel.py ConnectionTasks start": (
        *("Streamable._ask", "Streamable._begun", "Sse._listen", "Sse._send"),
    ),
}

# Not driven, with the reason.
BRIEF: dict[str, str] = {
    "create_subprocess_exec": "bounded by begin; driven with its owner",
    "connect_read_pipe": "likewise",
    "finish": "bounds the work that it runs itself; its own tests cancel it",
    "SharedSessions.run": "waits, and asks the store, which is driven",
    "_Skills._having.<locals>.has": "asks one server, bounded by it",
    "of": "one list of a server, bounded by it",
    "_answer": "a command for a person",
    "Authority.run": "needs an issuer; waits and asks, holds nothing",
    "ScriptCalls._refuse": "writes one frame",
    "ScriptCalls._answer_alone": "the same as ScriptCalls._answer, one at a time",
    "_ends_in_time": "a script of the self-test; clears away as those of the pool do",
    "_pump": "one direction of a connection that is driven",
    "Landing._accept": "a command for a person",
    "_serve": "likewise",
}


@pytest.mark.requirement("cancellation.leaves_nothing")
@pytest.mark.timeout(240)  # each place has runs of its own, and some of a killed process
@pytest.mark.parametrize(("scenario", "target"), TARGETS)
async def test_a_cancelled_task_ends_and_leaves_nothing(scenario: Scenario, target: str) -> None:
    assert await check(scenario, target)


def _sites() -> Iterator[str]:
    """Where tasks are begun: file and function."""
    for path in sorted(SOURCE.rglob("*.py")):
        if "jail" in path.parts or "demo" in path.parts:
            continue
        text = path.read_text()
        if BEGINS in text:
            yield from _in(ast.parse(text), str(path.relative_to(SOURCE)))


def _in(node: ast.AST, place: str) -> Iterator[str]:
    for inner in ast.iter_child_nodes(node):
        called = inner.func if isinstance(inner, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr == BEGINS:
            yield place
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _in(inner, f"{place} {inner.name}")
        else:
            yield from _in(inner, place)


def test_every_place_that_begins_a_task_is_in_the_table() -> None:
    found = set(_sites())
    assert found == SITES.keys()
    driven = {target for _, target in TARGETS}
    assert {target for targets in SITES.values() for target in targets} - driven == set(BRIEF)
