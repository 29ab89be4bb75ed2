"""What the facts about an installation mean: a list of checks, each with a cure. Pure.

Gathering the facts is ``doctor``'s. Nothing here shows a value of the configuration.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

import msgspec

from mcproxy.errors import Problem
from mcproxy.types import LEVELS, Cause, Level, SandboxReport, ServerHealth

Severity: TypeAlias = Literal["good", "note", "warning", "error"]

FREE, OURS = "free", "a running MCProxy listens there"
SLOW_START_SECS = 20.0
OLDEST_PYTHON, NEWEST_TESTED_PYTHON = (3, 11), (3, 13)


class ServerResult(msgspec.Struct, frozen=True):
    """How one server was after a real start; ``secs`` until it was ready or had failed."""

    health: ServerHealth
    secs: float


class IssuerResult(msgspec.Struct, frozen=True):
    """What the issuer of ``auth.jwt`` gave: what its keys can verify, or why there are none."""

    issuer: str
    algorithms: tuple[str, ...] = ()
    error: str = ""


class Facts(msgspec.Struct, frozen=True):
    """What was found.

    ``problems`` are why the configuration is refused; then nothing was started. ``port`` is
    ``FREE``, ``OURS`` or why it cannot be bound. ``unwritable`` and ``exposed`` are places with
    what is wrong there. ``withheld`` are variables that servers do not get since they are secrets,
    ``kept_back`` those that name certificates, proxies or indexes of packages to some programs.
    """

    configuration: str = ""
    python: tuple[int, int] | None = None
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    sandbox: SandboxReport | None = None
    min_level: Level = "hardened"
    servers: Mapping[str, ServerResult] = msgspec.field(default_factory=dict)
    issuer: IssuerResult | None = None
    address: str = ""
    port: str = FREE
    unwritable: Mapping[str, str] = msgspec.field(default_factory=dict)
    plaintext: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    kept_back: tuple[str, ...] = ()
    exposed: Mapping[str, str] = msgspec.field(default_factory=dict)


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at. ``warning`` and ``error`` are problems, ``note`` is none."""

    subject: str
    severity: Severity
    message: str
    cure: str = ""

    @property
    def is_problem(self) -> bool:
        """Does it ask for something to be done?"""
        return self.severity in ("warning", "error")


class Diagnosis(msgspec.Struct, frozen=True):
    """All checks."""

    checks: tuple[Check, ...]

    @property
    def problems(self) -> int:
        """How many checks ask for something to be done."""
        return sum(check.is_problem for check in self.checks)


def diagnose(facts: Facts) -> Diagnosis:
    """Judge the facts. Facts that are found one after the other may be judged one by one: each has
    its checks, and what is not known has none."""
    return Diagnosis(
        (
            *_configuration(facts),
            *_python(facts),
            *_sandbox(facts),
            *_servers(facts),
            *_environment(facts),
            *_issuer(facts),
            *_address(facts),
            *_files(facts),
        )
    )


def _configuration(facts: Facts) -> Iterator[Check]:
    for problem in facts.problems:
        place = f"{facts.configuration}: {problem.path}: " if problem.path else ""
        yield Check("configuration", "error", f"{place}{problem.message}", problem.hint)
    if facts.configuration and not facts.problems:
        yield Check("configuration", "good", facts.configuration)
    for note in facts.notes:
        yield Check("configuration", "note", note)
    for place in facts.plaintext:
        yield Check(
            "secrets",
            "warning",
            f"{place} has what looks like a secret, in plain text",
            "write ${NAME} there, and NAME=… into the file .env beside it",
        )


def _python(facts: Facts) -> Iterator[Check]:
    if facts.python is None:
        return
    found = ".".join(map(str, facts.python))
    if facts.python < OLDEST_PYTHON:
        yield Check("python", "error", f"Python {found} is too old", "install Python 3.11 or newer")
    elif facts.python > NEWEST_TESTED_PYTHON:
        yield Check("python", "note", f"Python {found} is newer than what is tested")
    else:
        yield Check("python", "good", f"Python {found}")


def _sandbox(facts: Facts) -> Iterator[Check]:
    report = facts.sandbox
    if report is None:
        return
    if LEVELS.index(report.level) > LEVELS.index(facts.min_level):
        cure = "; ".join(report.missing) or "see the documentation of the sandbox"
        message = f"level {report.level}, but sandbox.min_level is {facts.min_level}"
        yield Check("sandbox", "error", message, cure)
        return
    yield Check("sandbox", "good", f"level {report.level}, as sandbox.min_level demands")
    for missing in report.missing:
        yield Check("sandbox", "note", missing)


def _servers(facts: Facts) -> Iterator[Check]:
    for name, result in facts.servers.items():
        yield _server(name, result)
        for repair in result.health.repairs:
            yield Check(f"server {name}", "note", f"tool {repair}")
        for held in result.health.held:
            # No problem: a person may have accepted it.
            message = f"held until it is accepted: its definition of {held}"
            yield Check(f"server {name}", "note", message, f"look with `mcproxy trust {name}`")


def _environment(facts: Facts) -> Iterator[Check]:
    for name in facts.withheld:
        message = f"{name} has credentials in it and is not passed on to servers"
        yield Check("environment", "note", message, f"name {name} in `env` of those that need it")
    if facts.kept_back:
        names = ", ".join(facts.kept_back)
        message = f"set here, but not passed on to servers: {names}"
        yield Check("environment", "note", message, "name it in `env` of those that need it")


def _server(name: str, result: ServerResult) -> Check:
    subject, health, took = f"server {name}", result.health, f"{result.secs:.1f} s"
    why = health.last_error or "no reason known"
    match health.state:
        case "ready" | "idle" if not health.tools:
            return Check(
                subject, "warning", f"runs, but offers no tools ({took})", "does it need arguments?"
            )
        case "ready" | "idle":
            slow = result.secs > SLOW_START_SECS
            hint = "; slow: a first start may download packages" if slow else ""
            message = f"{health.tools} tools, ready after {took}{hint}"
            return Check(subject, "note" if slow else "good", message)
        case "disabled":
            return Check(subject, "note", "disabled")
        case "unconfigured":
            return Check(subject, "error", why, "set it in the environment or in .env")
        case "starting":
            cure = "a first start may download it: try again, or start its command by hand"
            return Check(subject, "error", f"was not ready after {took}: {why}", cure)
        case "restarting" | "failed":
            cure = _CURES.get(health.cause, _CURE) if health.cause else _CURE
            return Check(subject, "error", why, cure.format(name=name))


_CURE = "start its command by hand to see more"
_CURES: Mapping[Cause, str] = {
    "no_command": "install it, or write its whole path; is it in the PATH of this shell?",
    "not_executable": "make the command executable for this user",
    "no_directory": "make the directory, or mend its `cwd`",
    "no_package": "mend the name or the version of the package in its `args`",
    "no_network": "is the index of packages reached from here? proxies and certificates, see below",
    "exited": "start its command by hand to see more; does it want arguments, or `env`?",
    "connection_refused": "start what is to listen there, or mend its `url`",
    "unknown_host": "mend the host in its `url`; is there a network?",
    "tls": "trust its certificate with SSL_CERT_FILE, or mend its `url`",
    "proxy": "see HTTP_PROXY and HTTPS_PROXY of this shell",
    "unauthorized": "run `mcproxy login {name}`, or set Authorization in its `headers`",
    "forbidden": "its token may not do this: another one, or more rights for it",
    "not_found": "mend the path of its `url`",
    "no_api": "mend what it says, or see docs/openapi.md",
    "no_mcp": "mend its `url`: whoever answers there does not speak MCP",
    "too_slow": "set start_timeout_secs higher, or see why it is slow",
}


def _issuer(facts: Facts) -> Iterator[Check]:
    found = facts.issuer
    if found is None:
        return
    if found.error:
        cure = "check auth.jwt.issuer, or set auth.jwt.jwks_url; until then its tokens are refused"
        yield Check("issuer", "error", found.error, cure)
    else:
        yield Check("issuer", "good", f"{found.issuer}: keys for {', '.join(found.algorithms)}")


def _address(facts: Facts) -> Iterator[Check]:
    if not facts.address:
        return
    found = f"{facts.address}: {facts.port}"
    if facts.port in (FREE, OURS):
        yield Check("port", "good", found)
    else:
        cure = "stop what listens there, or choose another with --port"
        yield Check("port", "error", found, cure)


def _files(facts: Facts) -> Iterator[Check]:
    for place, why in facts.unwritable.items():
        yield Check(
            "files", "error", f"{place}: {why}", "make it, make room, or let this user write there"
        )
    for place, mode in facts.exposed.items():
        yield Check(
            "files", "warning", f"{place} can be read by others ({mode})", f"chmod 600 {place}"
        )
