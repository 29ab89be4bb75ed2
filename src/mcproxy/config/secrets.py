"""What of a configuration is secret, and the forms in which a message may write it. Pure.

One place for two uses: problems of the configuration are masked here, everything else by
``observe.redact``.
"""

import base64
import json
import string
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

MASK = "***"
MIN_SECRET_CHARS = 6
# A line of a secret with several lines (a private key) is secret too, but "}" or "-----" is not.
MIN_LINE_CHARS = 12
# Clients differ in what they encode: all, all but "/", or by the sets of the URL standard (WHATWG,
# "Percent-encoded bytes") for queries and for paths.
_QUERY_SAFE = "".join(set(string.punctuation) - set('"#<>'))
_PATH_SAFE = "".join(set(_QUERY_SAFE) - set("?^`{}"))
_URL_ALPHABET = str.maketrans("+/", "-_")  # RFC 4648, section 5
_URL_SAFE = ("", "/", _QUERY_SAFE, _PATH_SAFE)


def is_secret(value: str) -> bool:
    """Is the value to be hidden? Short ones (a port, "true") would make every log unreadable."""
    return len(value) >= MIN_SECRET_CHARS


def forms(secrets: Iterable[str]) -> tuple[str, ...]:
    """All forms of the secrets, the longest first: where one secret begins like another, the whole
    of it must go."""
    known = {form for secret in secrets for form in _forms(secret)}
    return tuple(sorted(known, key=lambda form: (-len(form), form)))


def _forms(secret: str) -> Iterator[str]:
    """As it is, by lines, quoted, in a URL, in base64; and each of these in JSON."""
    for text in (secret, *_long_lines(secret)):
        if is_secret(text) and text.strip("*"):
            yield from _in_json(text)
            yield from _in_json(json.dumps(text)[1:-1])
            yield from _in_json(repr(text)[1:-1])
            yield quote_plus(text, errors="replace")
            for safe in _URL_SAFE:
                yield from _in_json(quote(text, safe=safe, errors="replace"))
            yield from _in_base64(text.encode(errors="replace"))


def _in_base64(secret: bytes) -> Iterator[str]:
    """The middle of it, wherever it stands in what was encoded: three bytes are four characters, of
    which the first and the last may hold a part of what is around (RFC 4648, section 4)."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + secret).decode()
        middle = whole[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6]
        if is_secret(middle):
            yield middle
            yield middle.translate(_URL_ALPHABET)


def _in_json(text: str) -> Iterator[str]:
    yield text
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]


def _long_lines(secret: str) -> Iterator[str]:
    lines = secret.splitlines()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if len(line.strip()) >= MIN_LINE_CHARS)
