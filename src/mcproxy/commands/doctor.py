"""``mcproxy doctor [--json]``: looks at everything that a gateway needs, and says what is wrong.

Gathers the facts; what they mean is ``diagnosis``'s, and is printed at once. Starting servers and
testing the sandbox are done by a function that is handed in. Every line passes the ``Redactor``:
last words of servers are among them.
"""

import errno
import http.client
import json
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec.structs import asdict, replace

import mcproxy
from mcproxy.commands.diagnosis import (
    FREE,
    OURS,
    Check,
    Diagnosis,
    Facts,
    IssuerResult,
    ServerResult,
    diagnose,
)
from mcproxy.commands.report import GOOD, PROBLEMS
from mcproxy.commands.screen import STYLES, Screen
from mcproxy.config.environment import kept_back, withheld
from mcproxy.config.inherit import env_isolated
from mcproxy.config.jsonc import written
from mcproxy.config.load import Loaded, read_document
from mcproxy.errors import ConfigError
from mcproxy.observe.redact import Redactor, secrets_of
from mcproxy.observe.secret_shapes import plaintexts
from mcproxy.types import Json, JsonObject, SandboxReport, ServerHealth

MAX_WORDS = 6  # lines of what a server wrote last; --json has all
HEALTH_SECS = 2.0  # for whatever listens on the port to answer
MAX_HEALTH_BYTES = 1 << 20
TRIED_BYTES = 1 << 20  # a disk without this much room is full
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class TrialFindings(msgspec.Struct, frozen=True):
    """Who hears what a trial finds, as it is found: the level of the sandbox, each server once,
    what the issuer gave; and of the servers that are still waited for."""

    sandbox: Callable[[SandboxReport], None]
    server: Callable[[str, ServerResult], None]
    issuer: Callable[[IssuerResult], None]
    waiting: Callable[[Mapping[str, ServerHealth]], None]


Attempt: TypeAlias = Callable[[Loaded, TrialFindings], None]
"""Really starts the sandbox and the servers, and asks the issuer."""


class Location(msgspec.Struct, frozen=True):
    """Where the gateway would run: the address that it binds, the directory of its state."""

    host: str
    port: int
    state: Path


class Way(msgspec.Struct, frozen=True):
    """How the configuration is read, and how what it names is tried."""

    load: Callable[[], Loaded]
    attempt: Attempt


def run(
    path: Path | None, way: Way, place: Location, screen: Screen, *, as_json: bool = False
) -> int:
    """Examine the configuration at ``path`` (None: the bundled demo).

    Raises ConfigError for a file that is not there; one that is refused is a finding.
    """
    if path is not None and not path.exists():
        way.load()
    shown, python = str(path or "bundled demo"), sys.version_info[:2]
    printed = _Printed(screen, as_json=as_json)
    try:
        loaded = way.load()
    except ConfigError as error:
        printed.judge(Facts(shown, python, error.problems, exposed=_exposed(path)))
        return printed.end()
    plain = tuple(plaintexts(read_document(path))) if path else ()
    printed.redactor = Redactor({*secrets_of(loaded), *(each.secret for each in plain)})
    places = tuple(dict.fromkeys(written(each.steps) for each in plain if each.sure))
    printed.judge(Facts(shown, python, notes=loaded.notes, plaintext=places))
    way.attempt(loaded, printed.findings(loaded))
    printed.judge(_surroundings(path, loaded, place))
    return printed.end()


def run_for_server(
    loaded: Loaded, name: str, attempt: Attempt, screen: Screen, *, as_json: bool = False
) -> int:
    """Examine one server of a configuration."""
    servers = {name: loaded.config.servers[name]}
    alone = replace(loaded, config=loaded.config.model_copy(update={"servers": servers}))
    printed = _Printed(screen, as_json=as_json)
    printed.redactor = Redactor(secrets_of(loaded))
    found = printed.findings(alone)
    attempt(alone, msgspec.structs.replace(found, sandbox=lambda _: None, issuer=lambda _: None))
    return printed.end()


class _Printed:
    """The checks so far; for people each is printed when it is made."""

    def __init__(self, screen: Screen, *, as_json: bool) -> None:
        self.redactor = Redactor()
        self._screen, self._as_json = screen, as_json
        self._checks: list[Check] = []

    def judge(self, facts: Facts) -> None:
        """Judge some facts."""
        for check in diagnose(facts).checks:
            self._checks.append(check)
            if not self._as_json:
                for line, style in _lines(check, self.redactor):
                    self._screen.line(line, style)

    def findings(self, loaded: Loaded) -> TrialFindings:
        """Who hears what a trial of this configuration finds."""
        level = loaded.config.sandbox.min_level
        return TrialFindings(
            lambda report: self.judge(Facts(sandbox=report, min_level=level)),
            lambda name, result: self.judge(Facts(servers={name: result})),
            lambda result: self.judge(Facts(issuer=result)),
            self._wait,
        )

    def end(self) -> int:
        """Say how many problems there are; the exit status."""
        diagnosis = Diagnosis(tuple(self._checks))
        count = diagnosis.problems
        if self._as_json:
            self._screen.json(_masked(_document(diagnosis), self.redactor))
        else:
            words = f"{count} problem{'s' if count > 1 else ''} found" if count else "all good"
            self._screen.line(words, "bold red" if count else "green")
        return PROBLEMS if count else GOOD

    def _wait(self, late: Mapping[str, ServerHealth]) -> None:
        if late and not self._as_json:
            said = next((each.last_error for each in late.values() if each.last_error), "")
            words = f"waiting for {', '.join(late)}{f': {said}' if said else ''}"
            self._screen.passing(self.redactor.text(words))


def _surroundings(path: Path | None, loaded: Loaded, place: Location) -> Facts:
    """What is around the servers: variables, the port, files."""
    audit = loaded.config.audit.file
    base = path.parent if path else Path()
    audited = (base / audit).expanduser().parent if audit else None
    return Facts(
        address=f"{place.host}:{place.port}",
        port=_port(place.host, place.port),
        unwritable=dict(_unwritable(place.state, audited)),
        withheld=tuple(sorted(_unnamed(loaded, withheld(loaded.environment)))),
        kept_back=tuple(sorted(_unnamed(loaded, kept_back(loaded.environment)))),
        exposed=_exposed(path),
    )


def _unnamed(loaded: Loaded, variables: Collection[str]) -> frozenset[str]:
    """Those of the variables that some server does not get."""
    return frozenset(
        variable
        for name, server in loaded.config.servers.items()
        if server.enabled and server.command and env_isolated(loaded.config, name)
        for variable in variables
        if variable not in server.env
    )


def _exposed(path: Path | None) -> Mapping[str, str]:
    """The ``.env`` beside the configuration, where others may read it."""
    if path is None:
        return {}
    env = path.parent / ".env"
    mode = stat.S_IMODE(env.stat().st_mode) if env.exists() else 0
    return {str(env): f"mode {mode:o}"} if mode & _OTHERS else {}


def _unwritable(state: Path, audited: Path | None) -> Iterator[tuple[str, str]]:
    """Where the gateway could not write, and why; the directory of its state is made if need be."""
    if audited and not audited.exists():
        yield str(audited), "there is no such directory, and audit.file is to be in it"
    for directory in (state, *([audited] if audited else ())):
        there = next(each for each in (directory, *directory.absolute().parents) if each.exists())
        fault = _fault_in_writing(there)
        if fault:
            yield str(directory), f"{there} {fault}"


def _fault_in_writing(directory: Path) -> str:
    """Why nothing can be kept there; empty where something can."""
    if not directory.is_dir():
        return "is no directory"
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(bytes(TRIED_BYTES))
    except OSError as error:
        return f"cannot be written to: {error.strerror or error}"
    return ""


def _port(host: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE and _is_mcproxy(host, port):
            return OURS
        return error.strerror or str(error)
    return FREE


def _is_mcproxy(host: str, port: int) -> bool:
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared only
    connection = http.client.HTTPConnection(reached, port, timeout=HEALTH_SECS)
    try:
        connection.request("GET", "/health")
        health: Json = json.loads(connection.getresponse().read(MAX_HEALTH_BYTES))
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return isinstance(health, dict) and {"sandbox", "servers", "uptime_secs"} <= health.keys()


def _lines(check: Check, redactor: Redactor) -> Iterator[tuple[str, str]]:
    """The lines about one check, and how each looks: what a server wrote is no line of ours."""
    first, *more = redactor.text(check.message).splitlines() or [""]
    style = STYLES[check.severity]
    yield f"{check.severity:<7}  {check.subject}  {first}", style
    left_out = len(more) - MAX_WORDS
    if left_out > 0:
        yield f"  | … {left_out} lines more", ""
    yield from ((f"  | {line}", "") for line in more[-MAX_WORDS:])
    if check.cure:
        yield f"  → {redactor.text(check.cure)}", ""


def _masked(document: JsonObject, redactor: Redactor) -> JsonObject:
    return {key: redactor.json(value) for key, value in document.items()}


def _document(diagnosis: Diagnosis) -> JsonObject:
    checks: list[Json] = [
        {"check": fields.pop("subject"), **fields} for fields in map(asdict, diagnosis.checks)
    ]
    return {"version": mcproxy.__version__, "problems": diagnosis.problems, "checks": checks}
