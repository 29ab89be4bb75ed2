"""What secrets look like: the published forms of tokens, and the names under which they are kept.

One place for two uses: ``redact`` masks these forms wherever they appear, and whoever reads
configurations, ours or another program's, finds what stands there in plain text: a value for the
name that it is under (``GITHUB_TOKEN``, ``--api-key``) or for its form. One that has a ``${VAR}``
is none: its writer knows the way. Pure.

Every pattern is linear in the text: a repetition is bounded, or what follows a failure cannot begin
inside it.
"""

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

import msgspec

from mcproxy.config.jsonc import Steps
from mcproxy.config.secrets import is_secret
from mcproxy.patterns import pattern
from mcproxy.types import Discreet, Json


class SecretShape(msgspec.Struct, frozen=True):
    """One form of token.

    A text that has none of ``anchors`` has no such token, which is found out a hundred times
    faster than by the pattern. A group of the pattern is what stays readable before the mask.
    """

    anchors: tuple[str, ...]
    pattern: re.Pattern[str]

    def within(self, text: str) -> bool:
        """Can the text have a token of this form?"""
        return any(anchor in text for anchor in self.anchors)


# Not within a word; what an escape ends with (of repr, JSON, a URL, a colour) is no letter of one.
_AFTER_ESCAPE = (
    r"(?<=\\[abfnrtv])|(?<=\\x[0-9a-f]{2})|(?<=\\u[0-9a-fA-F]{4})"
    r"|(?<=%[0-9A-Fa-f]{2})|(?<=%25[0-9A-Fa-f]{2})|(?<=[\[;B]\dm)|(?<=[\[;B]\d\dm)"
)
_BEGINS = rf"(?:{_AFTER_ESCAPE}|(?<![A-Za-z0-9]))"
_WORD_BEGINS = rf"(?:{_AFTER_ESCAPE}|(?<=\\)(?![bfnrtu])|(?<![A-Za-z0-9+/\\]))"
_IS = "(?:=|%3D)"  # as it is, and in a URL

SHAPES = (
    # RFC 6750 and 7617; "Bearer authentication" has no token: those have digits or are long.
    SecretShape(
        ("earer", "EARER", "asic"),
        pattern(
            rf"({_BEGINS}(?:Bearer|bearer|BEARER|Basic|basic)(?:\s|%20|\+){{1,4}})"
            r"(?=[A-Za-z0-9._~+/=-]{0,64}\d|[A-Za-z0-9._~+/=-]{24})[A-Za-z0-9._~+/=-]{8,}"
        ),
    ),
    SecretShape(  # OpenAI, Anthropic, Stripe, …
        ("sk-", "sk_", "rk_"),
        pattern(rf"{_BEGINS}[rs]k[-_](?=[A-Za-z0-9_-]{{0,64}}\d)[A-Za-z0-9_-]{{12,}}"),
    ),
    SecretShape(("gh",), pattern(r"gh[opsur]_[A-Za-z0-9]{16,}")),  # GitHub
    SecretShape(("github_pat_",), pattern(r"github_pat_[A-Za-z0-9_]{16,}")),
    SecretShape(("glpat-",), pattern(r"glpat-[A-Za-z0-9_-]{16,}")),  # GitLab
    SecretShape(("AKIA", "ASIA"), pattern(r"A(?:KI|SI)A[A-Z0-9]{16}(?![A-Z0-9])")),  # AWS
    SecretShape(("AIza",), pattern(r"AIza[A-Za-z0-9_-]{30,}")),  # Google
    SecretShape(("xox",), pattern(r"xox[a-z]-[A-Za-z0-9-]{10,}")),  # Slack
    SecretShape(("npm_", "hf_"), pattern(rf"{_BEGINS}(?:npm|hf)_[A-Za-z0-9]{{20,}}")),
    SecretShape(  # JWT (RFC 7519): header and body both begin with {" in base64url
        ("eyJ",),
        pattern(
            rf"(?:{_AFTER_ESCAPE}|(?<![A-Za-z0-9_-]))"
            r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?"
        ),
    ),
    SecretShape(  # PEM (RFC 7468); line breaks may be escaped, and the end may have been cut off
        ("-----BEGIN",),
        pattern(r"(-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY-----)(?:[A-Za-z0-9+/=\s\\:,]|-(?!----))*"),
    ),
    SecretShape(  # … its last lines, where the beginning was cut off
        ("PRIVATE KEY-----",),
        pattern(
            rf"{_WORD_BEGINS}(?:[A-Za-z0-9+/]{{4,}}+={{0,2}}+(?:[ \t\r]|\\r)*+(?:\n|\\n)){{1,100}}"
            r"(?=-----END [A-Z0-9 ]{0,30}PRIVATE KEY-----)"
        ),
    ),
    # … and one of its lines alone: 64 characters, 70 in OpenSSH's; a hash is in one case.
    SecretShape(
        ("",),
        pattern(
            rf"(?=[A-Za-z0-9+/]{{64}}){_WORD_BEGINS}"
            r"(?=[a-z0-9+/]*+[A-Z])(?=[A-Z0-9+/]*+[a-z])(?=[A-Za-z+/]*+[0-9])"
            r"(?:[A-Za-z0-9+/]{70}|[A-Za-z0-9+/]{64})(?![A-Za-z0-9+/=])"
        ),
    ),
    SecretShape(("://",), pattern(r"(://[^\s/:@\"'\\]*:)[^\s/@\"'\\]+(?=@)")),  # password in a URL
    SecretShape(  # … in one that is part of another
        ("%3A//", "%3A%2F%2F"),
        pattern(r"(%3A(?://|%2F%2F)[^\s/:@\"'\\%]*%3A)[^\s/@\"'\\]+?(?=%40)"),
    ),
    SecretShape(  # … in a connection string
        ("assword", "ASSWORD", "wd", "WD"),
        pattern(rf"({_BEGINS}(?i:password|pwd){_IS})[^\s;&\"'\\]+"),
    ),
    SecretShape(  # … and in a query
        ("=", "%3D"),
        pattern(
            r"((?:[?&]|%3F|%26)(?i:[a-z_-]{0,24}(?:key|token|secret|password|signature))"
            rf"{_IS})[^\s&#\"'\\]+"
        ),
    ),
)

_SECRET_NAME = pattern(
    r"(?:^|_)(?:(?:api|access|secret|private|auth)?key|token|secret|password|passwd|passphrase"
    r"|pwd|credential|authorization|auth|cookie|pat|jwt|dsn)s?(?:_(?:value|\d+))?$"
)
# Under these names any word is secret; under the others (SORT_KEY, AUTH) a plain word is none.
_STRONG_NAME = pattern(r"token|secret|pass|pwd|api_?key|private_?key|authorization|cookie")
_WORDS = pattern(r"[a-z]+(?:[ _-][a-z]+)*")
_OPEN_VALUE = pattern(r"[~.]{0,2}/.*|<.*>|(?i:true|false|none|null|enabled|disabled)")
# Names that end like one and hold nothing secret.
_OPEN_NAME = pattern(r"(?:public_?key|max_tokens?|token_limit|use_auth|key_id|client_id)$")
_HUMP = pattern(r"(?<=[a-z0-9])(?=[A-Z])")
_RANDOM = pattern(
    r"(?=[^\s]*\d)(?=[^\s]*[A-Za-z])(?:[0-9a-f]{32,}|[0-9A-F]{32,}"
    r"|(?=[^\s]*[a-z])(?=[^\s]*[A-Z])[A-Za-z0-9_+=-]{24,})"
)


def secret_within(value: str) -> str | None:
    """The first part of the value that has the form of a token, without what stays readable."""
    for shape in SHAPES:
        found = shape.pattern.search(value) if shape.within(value) else None
        if found:
            return found[0].removeprefix(found[1]) if found.lastindex else found[0]
    return None


def names_a_secret(name: str) -> bool:
    """Is this the name of a variable, header or option whose value is secret?"""
    plain = _plain(name)
    return bool(_SECRET_NAME.search(plain)) and not _OPEN_NAME.search(plain)


def holds_secret(name: str, value: str) -> bool:
    """Is this the value of a secret, as far as its name tells? A path or a placeholder is none."""
    if not names_a_secret(name) or not is_secret(value) or _OPEN_VALUE.fullmatch(value):
        return False
    return bool(_STRONG_NAME.search(_plain(name)) or not _WORDS.fullmatch(value))


def looks_random(value: str) -> bool:
    """Is the value one long word of mixed letters and digits, as keys without a form are?"""
    return _RANDOM.fullmatch(value) is not None


def _plain(name: str) -> str:
    """``--api-key``, ``X-Api-Key`` and ``apiKey`` as words with ``_`` between."""
    return re.sub(r"[.\s-]+", "_", _HUMP.sub("_", name)).strip("_").lower()


_SCHEME = pattern(r"(?i:bearer|basic|token)\s+(?=\S)")
# NAME=value, --name=value, Name: value
_ASSIGNED = pattern(r"(?P<name>-{0,2}[A-Za-z][A-Za-z0-9_.-]*)(?:=|:\s+)(?P<value>.+)", re.DOTALL)


class Plaintext(Discreet, frozen=True):
    """A secret, the place of its value, and a name for it.

    ``sure`` is false where only its looks speak for it: it may be an identifier as well.
    """

    steps: Steps
    name: str
    secret: str
    sure: bool = True
    hidden: ClassVar = frozenset({"secret"})


def plaintexts(value: Json, steps: Steps = ()) -> Iterator[Plaintext]:
    """All secrets of the document, in its order."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from plaintexts(inner, (*steps, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            option = _option_before(value, index)
            if isinstance(inner, str):
                yield from _in_text(inner, option, (*steps, index))
            else:
                yield from plaintexts(inner, (*steps, index))
    elif isinstance(value, str) and steps:
        yield from _in_text(value, str(steps[-1]), steps)


def _option_before(items: Sequence[Json], index: int) -> str:
    """``--api-key`` for what follows it in a list of arguments."""
    before = items[index - 1] if index else None
    return before if isinstance(before, str) and before.startswith("-") else ""


def _in_text(text: str, name: str, steps: Steps) -> Iterator[Plaintext]:
    if "${" in text:
        return
    assigned = _ASSIGNED.fullmatch(text)
    if assigned and names_a_secret(assigned["name"]) and not names_a_secret(name):
        name, text = assigned["name"], assigned["value"]
    if holds_secret(name, text):
        yield Plaintext(steps, name, _SCHEME.sub("", text, count=1))
        return
    shaped = secret_within(text)
    if shaped:
        yield Plaintext(steps, name, shaped)
    elif looks_random(text):
        yield Plaintext(steps, name, text, sure=False)
