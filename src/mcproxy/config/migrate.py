"""Brings a v1 document, whose ``servers`` are an array, to the form of v2. Pure.

v1 files run as they are: reading one means migrating it in memory. So whatever v1 took is taken
here, with a note, and only what v1 itself could not have run is a problem. Comments (keys that
start with ``_``) stay where they are, and a key that v2 does not know becomes such a comment.
"""

import re

import msgspec

from mcproxy.config.fields import MAX_NAME_CHARS
from mcproxy.config.jsonc import written
from mcproxy.config.model import Config, ServerConfig
from mcproxy.errors import Problem
from mcproxy.types import Json, JsonObject

RENAMED = {"type": "transport", "timeout": "timeout_secs", "tool_timeout": "timeout_secs"}
TRANSPORTS = {"streamable-http": "http", "streamable_http": "http", "streamableHttp": "http"}


class Migration(msgspec.Struct, frozen=True):
    """The document in the form of v2, with what was changed on the way and what cannot be."""

    document: JsonObject
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def is_v1(document: JsonObject) -> bool:
    """Is this a v1 document?"""
    return isinstance(document.get("servers"), list)


def migrate(document: JsonObject) -> Migration:
    """Bring ``document`` to v2; one that is v2 already comes back as it is."""
    listed = document.get("servers")
    if not isinstance(listed, list):
        return Migration(document)
    notes: list[str] = []
    problems: list[Problem] = []
    servers: JsonObject = {}
    for index, entry in enumerate(listed):
        path = written(("servers", index))
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(name, str) or not name.strip():
            problems.append(Problem(path, "has no name", 'add "name": "…"'))
            continue
        key = _valid_name(name)
        if key in servers:
            problems.append(Problem(path, f"{key!r} is there twice", "give each its own name"))
            continue
        if key != name:
            notes.append(f"{path}: the server {name!r} is called {key!r}")
        servers[key] = _definition(entry, path, notes)
    known = [field.alias or name for name, field in Config.model_fields.items()]
    kept = _comment_unknown(document, known, "", notes)
    return Migration({**kept, "servers": servers}, tuple(notes), tuple(problems))


def _definition(entry: JsonObject, path: str, notes: list[str]) -> JsonObject:
    """One server without its name, in the words and kinds of v2."""
    definition: JsonObject = {}
    for key, value in entry.items():
        if key != "name" and value is not None:
            definition[RENAMED.get(key, key)] = value
    # The time of a call, where v1 has it apart, is what v2 means by timeout_secs.
    if entry.get("tool_timeout") is not None:
        definition["timeout_secs"] = entry["tool_timeout"]
    if "disabled" in definition and "enabled" not in definition:
        definition["enabled"] = not definition.pop("disabled")
    transport = definition.pop("transport", None)
    if isinstance(transport, str) and transport != "stdio":
        definition["transport"] = TRANSPORTS.get(transport, transport)
    for key in ("args", "env", "headers"):
        if key in definition:
            definition[key] = _texts(definition[key])
    return _comment_unknown(definition, list(ServerConfig.model_fields), f"{path}.", notes)


def _comment_unknown(
    section: JsonObject, known: list[str], prefix: str, notes: list[str]
) -> JsonObject:
    kept: JsonObject = {}
    for key, value in section.items():
        if key in known or key.startswith("_"):
            kept[key] = value
        else:
            kept[f"_{key}"] = value
            notes.append(f"{prefix}{key}: this key has no meaning and is ignored")
    return kept


def _texts(value: Json) -> Json:
    """Numbers and booleans as the strings that v1 made of them, one level deep."""
    if isinstance(value, list):
        return [_text(item) for item in value]
    if isinstance(value, dict):
        return {key: item if key.startswith("_") else _text(item) for key, item in value.items()}
    return value


def _text(value: Json) -> Json:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _valid_name(name: str) -> str:
    words = re.sub(r"[^A-Za-z0-9_.-]+", "_", name.strip())[:MAX_NAME_CHARS]
    return words if re.match(r"[A-Za-z0-9]", words) else f"s{words}"[:MAX_NAME_CHARS]
