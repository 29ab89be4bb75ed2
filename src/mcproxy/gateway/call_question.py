"""What a person is shown of a call that is asked for: what is sent, and nothing else. Pure.

Two calls that differ never look the same: the digest of the exact arguments is always shown, and
what stands outside of quotes (marks, names of members) cannot be written by a value. Values are
JSON; what acts or hides in a text is written out, secrets are masked and marked, and of long texts
the head is shown with their length and digest.
"""

import hashlib
import json
from collections.abc import Callable, Mapping

import msgspec

from mcproxy.foreign_text import clean, is_seen, label
from mcproxy.observe.secret_shapes import holds_secret
from mcproxy.types import Json, JsonObject, ToolRef

MAX_TEXT_CHARS = 300  # of one text
MAX_ARGUMENTS_CHARS = 4_000  # of all arguments together; a person reads no more
FOR_SESSION = "for_session"  # the member of the answer that makes it hold for the session
_DIGEST_CHARS = 32  # 128 bits: nobody finds two calls that share them
_MAX_NAME_CHARS = 128
_MASKED = "[masked]"

_encode = msgspec.json.Encoder(order="sorted").encode

Mask = Callable[[str], str]


def call_digest(whose: tuple[str, str], ref: ToolRef, arguments: Mapping[str, Json]) -> str:
    """Stands for this call by ``whose`` (a caller, in a namespace), and for no other."""
    return hashlib.sha256(_encode([*whose, ref.server, ref.tool, arguments])).hexdigest()


def described(ref: ToolRef, arguments: Mapping[str, Json], mask: Mask) -> str:
    """The call in a few lines; ``mask`` hides secrets in a text."""
    sent = _encode(arguments)
    text = _shown(dict(arguments), mask)
    if len(text) > MAX_ARGUMENTS_CHARS:
        text = f"{text[:MAX_ARGUMENTS_CHARS]} [and {len(text) - MAX_ARGUMENTS_CHARS} more]"
    digest = hashlib.sha256(sent).hexdigest()[:_DIGEST_CHARS]
    return (
        f"server: {label(ref.server, _MAX_NAME_CHARS)}\ntool: {label(ref.tool, _MAX_NAME_CHARS)}\n"
        f"arguments: {text}\nthey are: {len(sent)} bytes, sha256 {digest}"
    )


def question(call: str, source: str, *, lasting: bool) -> JsonObject:
    """The parameters of ``elicitation/create`` (MCP, client/elicitation); ``source``: the rule that
    wants it. ``lasting``: there is a session for which the answer can hold."""
    for_session: JsonObject = {
        "type": "boolean",
        "title": "For this session",
        "description": "Do not ask again for exactly this call.",
        "default": False,
    }
    offered: JsonObject = {FOR_SESSION: for_session} if lasting else {}
    once = "" if lasting else " Your answer holds for this one call."
    return {
        "message": f"May this call be made? It waits for you, by {source}.{once}\n{call}",
        "requestedSchema": {"type": "object", "properties": offered},
    }


def _shown(value: Json, mask: Mask, name: str = "") -> str:
    if isinstance(value, dict):
        members = (f"{_text(key, mask)}: {_shown(value[key], mask, key)}" for key in sorted(value))
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_shown(item, mask, name) for item in value) + "]"
    if isinstance(value, str):
        return f'"" {_MASKED}' if holds_secret(name, value) else _text(value, mask)
    return json.dumps(value)


def _text(text: str, mask: Mask) -> str:
    """A text in quotes; behind them what was done to it."""
    masked = mask(text)
    marks = []
    if masked != clean(text):  # ``mask`` cleans too
        marks.append(_MASKED)
        shown = masked
    else:
        shown = text
    if len(shown) > MAX_TEXT_CHARS:
        digest = "" if marks else f", sha256 {_digest(text)}"
        marks.append(f"[the head of {len(text)} characters{digest}]")
        shown = shown[:MAX_TEXT_CHARS]
    quoted = json.dumps(shown, ensure_ascii=not is_seen(shown))
    return " ".join([quoted, *marks])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]
