"""What others wrote, made fit to be told: without secrets, and without what acts or hides.

Everything that people and models read of servers and scripts passes here: logs, errors, reports.
Two kinds of secret are masked: the values that are known to be secret, in every form in which a
message may write them, and whatever has the shape of a token. The words around them stay. Which
characters act or hide is told by ``foreign_text``.

Values are masked before they are encoded: in JSON a line break before a token is a letter of it.

Measured: 30 to 70 ns a character with 50 secrets. A search for each is much faster than one
pattern of them all (500 ns): Python's patterns try the alternatives at every character.
"""

import re
from collections.abc import Iterable

import msgspec

from mcproxy.config.environment import proxy_secrets
from mcproxy.config.load import Loaded
from mcproxy.config.secrets import MASK, forms
from mcproxy.foreign_text import clean, without_sequences
from mcproxy.observe.secret_shapes import SHAPES, plaintexts
from mcproxy.types import Json

_TEXTS = frozenset({"description", "summary", "title"})
_VALUES = frozenset({"default", "examples"})  # of a schema; a server may have filled them in


class Redactor:
    """Masks ``secrets`` and token shapes in text. Immutable; make a new one for other secrets."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known = forms(secrets)

    def text(self, text: str) -> str:
        """The text with every secret replaced by ``***``, and without what acts or hides."""
        masked = _without_shapes(without_sequences(self._without_known(text)))
        cleaned = clean(masked)
        # What hid inside a secret has kept it from being known.
        return masked if cleaned == masked else _without_shapes(self._without_known(cleaned))

    def _without_known(self, text: str) -> str:
        for form in self._known:
            if form in text:
                text = text.replace(form, MASK)
        return text

    def json_text(self, raw: bytes) -> bytes:
        """The same for JSON text; it stays as it is where nothing in it is to be changed. What is
        no JSON is text."""
        try:
            value: Json = msgspec.json.decode(raw)
            told = self.whole(value)
        except (ValueError, RecursionError):  # msgspec's own are ValueErrors
            return self.text(raw.decode("utf-8", "replace")).encode()
        return raw if told == value else msgspec.json.encode(told)

    def whole(self, value: object) -> Json:
        """Any value as JSON with all its texts masked, keys too."""
        if isinstance(value, dict):
            return {self.text(str(key)): self.whole(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.whole(inner) for inner in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        return self.text(str(value))

    def json(self, value: Json) -> Json:
        """The value with the secrets in all its strings masked; keys are left alone."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.json(item) for item in value]
        if isinstance(value, dict):
            return {key: self.json(item) for key, item in value.items()}
        return value

    def prose(self, value: Json) -> Json:
        """The value with the secrets masked where a server says something: in descriptions,
        defaults and examples. What a call is made of (names, types, choices) is left alone."""
        if isinstance(value, list):
            return [self.prose(item) for item in value]
        if isinstance(value, dict):
            return {key: self._said(key, item) for key, item in value.items()}
        return value

    def _said(self, key: str, value: Json) -> Json:
        if key in _TEXTS and isinstance(value, str):
            return self.text(value)
        return self.json(value) if key in _VALUES else self.prose(value)


def secrets_of(loaded: Loaded) -> frozenset[str]:
    """The values of a configuration that are known to be secret: what came from variables, tokens,
    credentials of APIs, what stands there in plain text under a name or in a form that says so, and
    the credentials of the environment's proxies."""
    written = plaintexts(loaded.config.model_dump(mode="json", exclude_unset=True))
    plain = {each.secret for each in written if each.sure}
    tokens = {token.token for token in loaded.config.auth.tokens if token.token}
    servers = loaded.config.servers.values()
    credentials = {secret for server in servers for secret in server.credentials.values()}
    own = plain | tokens | credentials | loaded.config.state.passwords
    return frozenset(loaded.secrets | own | proxy_secrets(loaded.environment))


def _without_shapes(text: str) -> str:
    for shape in SHAPES:
        if shape.within(text):
            text = shape.pattern.sub(_mask, text)
    return text


def _mask(match: re.Match[str]) -> str:
    return f"{match[1]}{MASK}" if match.lastindex else MASK
