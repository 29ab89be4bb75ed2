"""From a path to a configuration, or to all of its problems at once.

text -> JSON -> v2 form -> comments dropped -> variables filled in -> model -> rules across
sections. Each step is pure and lives in its own file; this one opens the files and is the only
reader of ``os.environ``.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from mcproxy.config import config_warnings, jsonc
from mcproxy.config.interpolate import Filled, FoundVariable, fill
from mcproxy.config.jsonc import written
from mcproxy.config.migrate import is_v1, migrate
from mcproxy.config.model import Config
from mcproxy.config.secrets import MASK, forms, is_secret
from mcproxy.config.validate import validate
from mcproxy.errors import ConfigError, Problem
from mcproxy.types import Discreet, Json, JsonObject

DEFAULT_FILES = (Path("config/mcp-servers.json"), Path("mcproxy.json"))
V1_NOTE = "servers is an array (v1); it runs as it is, `mcproxy migrate` brings the file to v2"


class Loaded(Discreet, frozen=True):
    """A configuration that can run, and what reading it brought to light.

    ``notes`` are lines for the log; ``secrets`` are values to be hidden in logs and errors;
    ``unconfigured`` says of a server which variable it lacks; ``environment`` is the gateway's own.
    """

    config: Config
    source: Path | None = None
    notes: tuple[str, ...] = ()
    secrets: frozenset[str] = frozenset()
    unconfigured: Mapping[str, str] = {}
    environment: Mapping[str, str] = {}
    hidden: ClassVar = frozenset({"secrets", "environment"})


def wants_plain_output() -> bool:
    """Whether no colours are wanted (no-color.org), or the terminal has none."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "dumb") == "dumb"


def default_path(cwd: Path) -> Path | None:
    """The file that is read when none is named; None: there is none, use the bundled demo."""
    candidates = (cwd / name for name in DEFAULT_FILES)
    return next((path for path in candidates if path.is_file()), None)


def load(path: Path) -> Loaded:
    """Read the file and the ``.env`` beside it. Raises ConfigError with every problem."""
    document = read_document(path)
    return _build(document, path, {**_dotenv(path), **os.environ})


def load_document(document: JsonObject) -> Loaded:
    """As ``load``, for a document that comes from no file. Raises ConfigError."""
    return _build(document, None, os.environ)


def read_document(path: Path) -> JsonObject:
    """Read the file as it is written, comment keys and variables included. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(path, f"not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
    except FileNotFoundError as error:
        raise _refused(path, "there is no such file", "name one with --config PATH") from error
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from error
    parsed = jsonc.parse(text)
    if parsed.problems:
        raise ConfigError(str(path), parsed.problems)
    if not isinstance(parsed.value, dict):
        raise _refused(path, "must be an object", 'start with { "servers": { … } }')
    return parsed.value


def _refused(path: Path, message: str, hint: str = "") -> ConfigError:
    return ConfigError(str(path), [Problem("", message, hint)])


def _dotenv(config: Path) -> dict[str, str]:
    path = config.parent / ".env"
    try:
        if not path.exists():
            return {}
        from dotenv import dotenv_values  # noqa: PLC0415 - hardly any start has such a file

        values = dotenv_values(path, interpolate=False)
    except UnicodeDecodeError as error:
        raise _refused(path, f"not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from error
    return {name: value for name, value in values.items() if value is not None}


def _build(document: JsonObject, source: Path | None, variables: Mapping[str, str]) -> Loaded:
    migration = migrate(document)
    filled = fill(_without_comments(migration.document), variables)
    by_server, elsewhere = _sorted_missing(filled.missing)
    excused = {found.steps for found in filled.missing}
    validated = validate(filled.document, excused, by_server)
    config = validated.config
    problems = [*migration.problems, *map(_unset, elsewhere), *validated.problems]
    if problems or config is None:
        shown = [_masked(problem, filled.secrets) for problem in problems]
        raise ConfigError(str(source or "configuration"), shown)
    own = (V1_NOTE,) if is_v1(document) else ()
    tokens = {token.token for token in config.auth.tokens if token.token and is_secret(token.token)}
    return Loaded(
        config,
        source,
        notes=(*own, *migration.notes, *_unread(filled), *config_warnings.notes(config)),
        secrets=filled.secrets | tokens,
        unconfigured=_unconfigured(config, by_server),
        environment=dict(os.environ),
    )


def _without_comments(document: JsonObject) -> JsonObject:
    return {key: _uncommented(value) for key, value in document.items() if not key.startswith("_")}


def _uncommented(value: Json) -> Json:
    if isinstance(value, dict):
        return _without_comments(value)
    return [_uncommented(item) for item in value] if isinstance(value, list) else value


def _sorted_missing(
    missing: Sequence[FoundVariable],
) -> tuple[Mapping[str, Sequence[FoundVariable]], Sequence[FoundVariable]]:
    """The missing variables by server, and those that no server can be excused for."""
    by_server: dict[str, list[FoundVariable]] = {}
    elsewhere: list[FoundVariable] = []
    for found in missing:
        if found.steps[0] == "servers" and len(found.steps) > 2:
            by_server.setdefault(str(found.steps[1]), []).append(found)
        else:
            elsewhere.append(found)
    return by_server, elsewhere


def _unset(found: FoundVariable) -> Problem:
    return Problem(
        written(found.steps),
        f"the variable {found.text} is not set",
        f"set it in the environment or in .env, or write ${{{found.text}:-default}}",
    )


def _unconfigured(
    config: Config, by_server: Mapping[str, Sequence[FoundVariable]]
) -> dict[str, str]:
    return {
        name: "; ".join(str(_unset(found)) for found in missing)
        for name, missing in by_server.items()
        if config.servers[name].enabled
    }


def _unread(filled: Filled) -> Iterator[str]:
    for found in filled.unread:
        yield (
            f"{written(found.steps)}: {found.text} stays as it is; "
            "only ${VAR} and ${VAR:-default} are filled in"
        )


def _masked(problem: Problem, secrets: frozenset[str]) -> Problem:
    """Hide values that came from the environment: problems are printed and logged."""
    message, hint = problem.message, problem.hint
    for form in forms(secrets):
        message, hint = message.replace(form, MASK), hint.replace(form, MASK)
    return Problem(problem.path, message, hint)
