"""What an authorization server answers to a login, as the browser or a person brings it. Pure.

OAuth 2.1, section 4.1.2: a code, or an error, in the query of the redirect URI, with the ``state``
of the request. A person without the whole URL may bring the code alone; PKCE binds it to the login.
"""

import hmac
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from mcproxy.errors import McproxyError

MAX_CHARS = 300  # of what the server says in its own words

_CODE = re.compile(r"[!-~]+")
_WORDS = {
    "access_denied": "the login was refused: you, or the server's rules, said no",
    "invalid_scope": "the server does not grant what was asked for",
    "server_error": "the authorization server failed; try again later",
    "temporarily_unavailable": "the authorization server is busy; try again later",
    "unauthorized_client": "the authorization server does not let MCProxy log in this way",
}


@dataclass(frozen=True, slots=True)
class LoginAnswer:
    """A code, or ``refusal``: why there is none, in words. ``iss`` as in RFC 9207."""

    code: str = ""
    refusal: str = ""
    iss: str | None = None


class NoAnswer(McproxyError):
    """This is not the answer to the login; the text says what is missing."""


def pasted_answer(text: str, state: str) -> LoginAnswer:
    """The answer in what a person pasted: a URL, its query, or the code alone.

    Raises NoAnswer.
    """
    text = text.strip()
    try:
        query = urlsplit(text).query or text
    except ValueError:
        query = text
    alone = not {"code", "error"} & parse_qs(query).keys() and "://" not in text
    return LoginAnswer(code=text) if alone and _CODE.fullmatch(text) else answer_in(query, state)


def answer_in(query: str, state: str) -> LoginAnswer:
    """The answer in the query of a redirect, to the login with this ``state``. Raises NoAnswer."""
    found = {name: values[0] for name, values in parse_qs(query).items()}
    if not found.keys() & {"code", "error"}:
        raise NoAnswer("there is no `code=` in it; copy the whole address")
    if not hmac.compare_digest(found.get("state", "").encode(), state.encode()):
        raise NoAnswer("it belongs to another login (its `state` is not the one that was sent)")
    if "error" in found:
        return LoginAnswer(refusal=_refusal(found["error"], found.get("error_description", "")))
    return LoginAnswer(code=found["code"], iss=found.get("iss"))


def _refusal(error: str, description: str) -> str:
    words = _WORDS.get(error, "the authorization server gave no login")
    return f"{words} ({_printable(': '.join(filter(None, (error, description))))})"


def _printable(text: str) -> str:
    """Foreign words, fit for a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)[:MAX_CHARS]
