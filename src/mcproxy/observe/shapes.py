"""What secrets look like: the published forms of tokens, and the names under which they are kept.

One place for two uses: ``redact`` masks these forms wherever they appear, and whoever reads
configurations finds with them what should not stand there in plain text. Pure.

Every pattern is linear in the text: a repetition is bounded, or what follows a failure cannot begin
inside it.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """One form of token.

    A text that has none of ``anchors`` has no such token, which is found out a hundred times
    faster than by the pattern. A group of the pattern is what stays readable before the mask.
    """

    anchors: tuple[str, ...]
    pattern: re.Pattern[str]

    def within(self, text: str) -> bool:
        """Can the text have a token of this form?"""
        return any(anchor in text for anchor in self.anchors)


SHAPES = (
    Shape(  # RFC 6750 and 7617; "Bearer authentication" has no token: those have digits or are long
        ("earer", "EARER", "asic"),
        re.compile(
            r"(\b(?:Bearer|bearer|BEARER|Basic|basic)\s{1,4})"
            r"(?=[A-Za-z0-9._~+/=-]{0,64}\d|[A-Za-z0-9._~+/=-]{24})[A-Za-z0-9._~+/=-]{8,}"
        ),
    ),
    Shape(  # OpenAI, Anthropic, Stripe, …
        ("sk-", "sk_", "rk_"),
        re.compile(r"(?<![A-Za-z0-9])[rs]k[-_](?=[A-Za-z0-9_-]{0,64}\d)[A-Za-z0-9_-]{12,}"),
    ),
    Shape(("gh",), re.compile(r"gh[opsur]_[A-Za-z0-9]{16,}")),  # GitHub
    Shape(("github_pat_",), re.compile(r"github_pat_[A-Za-z0-9_]{16,}")),
    Shape(("glpat-",), re.compile(r"glpat-[A-Za-z0-9_-]{16,}")),  # GitLab
    Shape(("AKIA", "ASIA"), re.compile(r"A(?:KI|SI)A[A-Z0-9]{16}(?![A-Z0-9])")),  # AWS
    Shape(("AIza",), re.compile(r"AIza[A-Za-z0-9_-]{30,}")),  # Google
    Shape(("xox",), re.compile(r"xox[a-z]-[A-Za-z0-9-]{10,}")),  # Slack
    Shape(("npm_", "hf_"), re.compile(r"(?<![A-Za-z0-9])(?:npm|hf)_[A-Za-z0-9]{20,}")),
    Shape(  # JWT (RFC 7519): header and body both begin with {" in base64url
        ("eyJ",),
        re.compile(
            r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?"
        ),
    ),
    Shape(  # PEM (RFC 7468); line breaks may be escaped, and the end may have been cut off
        ("-----BEGIN",),
        re.compile(
            r"(-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY-----)(?:[A-Za-z0-9+/=\s\\:,]|-(?!----))*"
        ),
    ),
    Shape(("://",), re.compile(r"(://[^\s/:@\"'\\]*:)[^\s/@\"'\\]+(?=@)")),  # password in a URL
    Shape(  # … and in its query
        ("=",),
        re.compile(
            r"([?&](?i:[a-z_-]{0,24}(?:key|token|secret|password|signature))=)[^\s&#\"'\\]+"
        ),
    ),
)

_SECRET_NAME = re.compile(
    r"(?:^|[_.-])(?:api_?key|access_?key|secret_?key|private_?key|auth_?key|key|token|secret"
    r"|password|passwd|passphrase|pwd|credentials?|authorization|auth|cookie|pat|jwt|dsn)s?"
    r"(?:$|[_.-](?:id|value|\d+)$)"
)
# Names that end like one and hold nothing secret.
_OPEN_NAME = re.compile(r"(?:public_?key|max_tokens?|token_limit|use_auth|key_id|client_id)$")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_RANDOM = re.compile(
    r"(?=[^\s]*\d)(?=[^\s]*[A-Za-z])(?:[0-9a-f]{32,}|[0-9A-F]{32,}"
    r"|(?=[^\s]*[a-z])(?=[^\s]*[A-Z])[A-Za-z0-9_+=-]{24,})"
)


def has_secret_shape(value: str) -> bool:
    """Does the value contain a token in one of the published forms?"""
    return any(shape.within(value) and shape.pattern.search(value) for shape in SHAPES)


def names_a_secret(name: str) -> bool:
    """Is this the name of a variable, header or option whose value is secret?"""
    plain = _HUMP.sub("_", name.lstrip("-")).lower()
    return bool(_SECRET_NAME.search(plain)) and not _OPEN_NAME.search(plain)


def looks_random(value: str) -> bool:
    """Is the value one long word of mixed letters and digits, as keys without a form are?"""
    return _RANDOM.fullmatch(value) is not None
