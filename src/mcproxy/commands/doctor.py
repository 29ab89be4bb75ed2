"""``mcproxy doctor [--json]``: looks at everything that a gateway needs, and says what is wrong.

Gathers the facts; what they mean is ``diagnosis``'s. Starting servers and testing the sandbox are
done by a function that is handed in. Every line passes the ``Redactor``: last words of servers are
among them.
"""

import errno
import http.client
import json
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeAlias

import mcproxy
from mcproxy.commands.diagnosis import (
    FREE,
    OURS,
    Diagnosis,
    Facts,
    IssuerResult,
    ServerResult,
    diagnose,
)
from mcproxy.commands.report import GOOD, PROBLEMS, CommandReport, columns
from mcproxy.config.environment import withheld
from mcproxy.config.inherit import env_isolated
from mcproxy.config.jsonc import written
from mcproxy.config.load import Loaded, read_document
from mcproxy.errors import ConfigError
from mcproxy.observe.redact import Redactor, secrets_of
from mcproxy.observe.secret_shapes import plaintexts
from mcproxy.types import Json, JsonObject, SandboxReport

SCHEMA = 1
HEALTH_SECS = 2.0  # for whatever listens on the port to answer
MAX_HEALTH_BYTES = 1 << 20
TRIED_BYTES = 1 << 20  # a disk without this much room is full
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of really starting the sandbox and the servers, and of asking the issuer."""

    sandbox: SandboxReport | None = None
    servers: Mapping[str, ServerResult] = field(default_factory=dict)
    issuer: IssuerResult | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """Where the gateway would run: the address that it binds, the directory of its state."""

    host: str
    port: int
    state: Path


Try: TypeAlias = Callable[[Loaded], Trial]


def run(
    path: Path | None,
    load: Callable[[], Loaded],
    attempt: Try,
    place: Location,
    *,
    as_json: bool = False,
) -> CommandReport:
    """Examine the configuration at ``path`` (None: the bundled demo), which ``load`` reads.

    Raises ConfigError for a file that is not there; one that is refused is a finding.
    """
    if path is not None and not path.exists():
        load()
    facts, redactor = _gathered(path, load, attempt, place)
    diagnosis = diagnose(facts)
    status = PROBLEMS if diagnosis.problems else GOOD
    lines = _json_lines(diagnosis, redactor) if as_json else _lines(diagnosis, redactor)
    return CommandReport(tuple(lines), status)


def _gathered(
    path: Path | None, load: Callable[[], Loaded], attempt: Try, place: Location
) -> tuple[Facts, Redactor]:
    shown, python = str(path or "bundled demo"), sys.version_info[:2]
    try:
        loaded = load()
    except ConfigError as error:
        return Facts(shown, python, error.problems, exposed=_exposed(path)), Redactor()
    trial = attempt(loaded)
    plain = tuple(plaintexts(read_document(path))) if path else ()
    audit = loaded.config.audit.file
    base = path.parent if path else Path()
    audited = (base / audit).expanduser().parent if audit else None
    return Facts(
        shown,
        python,
        notes=loaded.notes,
        sandbox=trial.sandbox,
        min_level=loaded.config.sandbox.min_level,
        servers=trial.servers,
        issuer=trial.issuer,
        address=f"{place.host}:{place.port}",
        port=_port(place.host, place.port),
        unwritable=dict(_unwritable(place.state, audited)),
        withheld=tuple(sorted(_withheld(loaded))),
        plaintext=tuple(dict.fromkeys(written(each.steps) for each in plain if each.sure)),
        exposed=_exposed(path),
    ), Redactor({*secrets_of(loaded), *(each.secret for each in plain)})


def _withheld(loaded: Loaded) -> frozenset[str]:
    """Variables of the environment that some server does not get."""
    secret = frozenset(withheld(loaded.environment))
    servers = loaded.config.servers
    return frozenset[str]().union(
        *(
            secret - server.env.keys()
            for name, server in servers.items()
            if server.enabled and server.command and env_isolated(loaded.config, name)
        )
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


def _lines(diagnosis: Diagnosis, redactor: Redactor) -> Iterator[str]:
    rows: list[tuple[str, str, str]] = []
    for check in diagnosis.checks:
        first, *more = redactor.text(check.message).splitlines() or [""]
        rows.append((check.severity, check.subject, first))
        rows += [("", "", f"  | {line}") for line in more]  # whoever said it, it is no line of ours
        if check.cure:
            rows.append(("", "", f"→ {redactor.text(check.cure)}"))
    yield from columns(rows)
    count = diagnosis.problems
    yield f"{count} problem{'s' if count > 1 else ''} found" if count else "all good"


def _json_lines(diagnosis: Diagnosis, redactor: Redactor) -> Iterator[str]:
    checks: list[Json] = [
        {"check": fields.pop("subject"), **fields} for fields in map(asdict, diagnosis.checks)
    ]
    document: JsonObject = {
        "schema": SCHEMA,
        "version": mcproxy.__version__,
        "problems": diagnosis.problems,
        "checks": checks,
    }
    yield json.dumps(redactor.json(document), ensure_ascii=False, indent=2)
