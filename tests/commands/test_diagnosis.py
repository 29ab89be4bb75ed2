"""What the facts mean."""

from typing import get_args

import pytest
from msgspec.structs import replace

from mcproxy.commands.diagnosis import (
    OURS,
    Facts,
    IssuerResult,
    ServerResult,
    Severity,
    diagnose,
)
from mcproxy.errors import Problem
from mcproxy.types import Cause, SandboxReport, ServerHealth

READY = ServerResult(ServerHealth("ready", tools=3), 0.5)
GOOD = Facts(
    "mcproxy.json",
    (3, 12),
    sandbox=SandboxReport("hardened"),
    servers={"a": READY},
    address="127.0.0.1:12010",
)


def failed(why: str, cause: Cause | None = None) -> Facts:
    health = ServerHealth("failed", last_error=why, cause=cause)
    return replace(GOOD, servers={"a": ServerResult(health, 7.0)})


FOUND: dict[str, tuple[Facts, Severity, str]] = {
    "a refused configuration": (
        replace(GOOD, problems=(Problem("servers.a", "is odd", "mend it"),)),
        "error",
        "mcproxy.json: servers.a: is odd mend it",
    ),
    "a note of the configuration": (replace(GOOD, notes=("v1",)), "note", "v1"),
    "an old Python": (replace(GOOD, python=(3, 10)), "error", "3.10 is too old"),
    "a new Python": (replace(GOOD, python=(3, 14)), "note", "3.14 is newer"),
    "a weak sandbox": (
        replace(GOOD, sandbox=SandboxReport("none", missing=("no user namespaces: allow them",))),
        "error",
        "level none, but sandbox.min_level is hardened no user namespaces: allow them",
    ),
    "an issuer with keys": (
        replace(GOOD, issuer=IssuerResult("https://x.org", ("ES256", "RS256"))),
        "good",
        "https://x.org: keys for ES256, RS256",
    ),
    "an issuer without keys": (
        replace(GOOD, issuer=IssuerResult("https://x.org", error="https://x.org: it answers 404")),
        "error",
        "https://x.org: it answers 404 check auth.jwt.issuer, or set auth.jwt.jwks_url",
    ),
    "no sandbox, as wanted": (
        replace(GOOD, sandbox=SandboxReport("none", missing=("no walls",)), min_level="none"),
        "note",
        "no walls",
    ),
    "a command that is not there": (failed("it is not", "no_command"), "error", "install it"),
    "a forbidden command": (failed("it may not", "not_executable"), "error", "executable"),
    "a refused token": (failed("401", "unauthorized"), "error", "run `mcproxy login a`"),
    "a missing package": (failed("E404", "no_package"), "error", "name or the version"),
    "a port where nobody listens": (
        failed("refused", "connection_refused"),
        "error",
        "start what is to listen there",
    ),
    "words of others that look like a cause": (failed("not found, 401"), "error", "by hand"),
    "a server that dies": (failed("exit status 1\nTraceback", "exited"), "error", "by hand"),
    "variables that are kept back": (
        replace(GOOD, kept_back=("NPM_CONFIG_REGISTRY",)),
        "note",
        "not passed on to servers: NPM_CONFIG_REGISTRY",
    ),
    "a server that hangs": (
        replace(GOOD, servers={"a": ServerResult(ServerHealth("starting"), 30.0)}),
        "error",
        "not ready after 30.0 s",
    ),
    "a server without tools": (
        replace(GOOD, servers={"a": ServerResult(ServerHealth("ready"), 1.0)}),
        "warning",
        "no tools",
    ),
    "a slow server": (
        replace(GOOD, servers={"a": ServerResult(ServerHealth("ready", tools=1), 25.0)}),
        "note",
        "slow",
    ),
    "a disabled server": (
        replace(GOOD, servers={"a": ServerResult(ServerHealth("disabled"), 0.0)}),
        "note",
        "disabled",
    ),
    "a server that lacks a variable": (
        replace(
            GOOD,
            servers={
                "a": ServerResult(ServerHealth("unconfigured", last_error="KEY is not set"), 0.0)
            },
        ),
        "error",
        "KEY is not set",
    ),
    "a port that is taken": (
        replace(GOOD, port="Address already in use"),
        "error",
        "127.0.0.1:12010: Address already in use",
    ),
    "a directory": (replace(GOOD, unwritable={"/x": "read-only"}), "error", "/x: read-only"),
    "plain text": (
        replace(GOOD, plaintext=("servers.a.env.KEY",)),
        "warning",
        "servers.a.env.KEY has what looks like a secret",
    ),
    "a readable .env": (replace(GOOD, exposed={".env": "mode 644"}), "warning", "chmod 600 .env"),
}


@pytest.mark.parametrize("cause", get_args(Cause))
def test_each_cause_has_a_cure_of_its_own(cause: Cause) -> None:
    (check,) = [check for check in diagnose(failed("why", cause)).checks if check.is_problem]
    (unknown,) = [check for check in diagnose(failed("why")).checks if check.is_problem]
    assert check.cure not in ("", unknown.cure)


def test_a_good_installation_has_only_good_checks() -> None:
    diagnosis = diagnose(GOOD)
    assert {check.severity for check in diagnosis.checks} == {"good"}
    assert diagnosis.problems == 0
    assert diagnose(replace(GOOD, port=OURS)).problems == 0


@pytest.mark.requirement("cli.doctor")
@pytest.mark.parametrize("title", FOUND)
def test_what_is_wrong_is_told_with_its_cure(title: str) -> None:
    facts, severity, words = FOUND[title]
    diagnosis = diagnose(facts)
    (check,) = [check for check in diagnosis.checks if words in f"{check.message} {check.cure}"]
    assert check.severity == severity
    assert check.cure or not check.is_problem
    assert diagnosis.problems == (severity in ("warning", "error"))


def test_a_refused_configuration_says_nothing_of_what_was_not_tried() -> None:
    facts = Facts("mcproxy.json", (3, 12), problems=(Problem("", "not valid JSON"),))
    assert [check.subject for check in diagnose(facts).checks] == ["configuration", "python"]
