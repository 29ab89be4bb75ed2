"""Secrets stay out of logs, whatever form they take; the words around them stay."""

import base64
import io
import itertools
import json
import logging
import sys
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.call_errors import UpstreamError
from mcproxy.config.load import load_document
from mcproxy.config.secrets import MASK
from mcproxy.errors import RpcError
from mcproxy.observe import logs
from mcproxy.observe.redact import Redactor, secrets_of
from mcproxy.observe.secret_shapes import looks_random, names_a_secret, secret_within
from mcproxy.types import Json, JsonObject, ToolRef
from mcproxy.upstream.serverlog import ServerLog

TOKEN = "canary-token"
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n"
    "MIIEowIBAAKCAQEAcanary+/=\nx9canary\n-----END RSA PRIVATE KEY-----"
)
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ"

# text -> what is left of it
SHAPED: dict[str, tuple[str, str]] = {
    "bearer": ("Authorization: Bearer abc.def-123 refused", "Authorization: Bearer *** refused"),
    "basic": ("basic dXNlcjpwYXNzd29yZDEyMzQ= x", "basic *** x"),
    "openai": ("key sk-proj-A1b2C3d4E5f6G7h8 is wrong", "key *** is wrong"),
    "stripe": ("sk_live_51Hcanarycanary", "***"),
    "github": (f"ghp_{'a1' * 18}: 401", "***: 401"),
    "fine-grained": ("github_pat_11AAAAAAA0canarycanary!", "***!"),
    "gitlab": ("glpat-canarycanary1234.", "***."),
    "aws": ("id=AKIAIOSFODNN7EXAMPLE;", "id=***;"),
    "google": (f"AIza{'x' * 35}", "***"),
    "slack": ("token xoxb-1234567890-canary rejected", "token *** rejected"),
    "npm": (f"npm_{'c' * 36} expired", "*** expired"),
    "jwt": (f"bad token {JWT}, sorry", "bad token ***, sorry"),
    "pem": (
        f"key: {PEM}\n",
        "key: -----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----\n",
    ),
    "pem in json": (
        json.dumps({"a": PEM[:80], "b": 1}),
        '{"a": "-----BEGIN RSA PRIVATE KEY-----***", "b": 1}',
    ),
    "pem without its beginning": (
        f"stderr:\nabcd\n{'aB3/' * 16}\nx9canary=\n-----END PRIVATE KEY-----",
        "stderr:\n***-----END PRIVATE KEY-----",
    ),
    "pem without its beginning, escaped": (
        json.dumps(f"it: \n{'aB3/' * 16}\r\nx9canary=\n-----END PRIVATE KEY-----"),
        '"it: \\n***-----END PRIVATE KEY-----"',
    ),
    "a line of a pem": (f"no message: b'{'aB3/' * 16}'", "no message: b'***'"),
    "a line of an OpenSSH key": (f"{'aB3/x9c' * 10}\n", "***\n"),
    "url": ("postgres://app:hunter2@db:5432/x down", "postgres://app:***@db:5432/x down"),
    "connection string": ("Server=db;Pwd=hunter2;X=1 failed", "Server=db;Pwd=***;X=1 failed"),
    "query": (
        "GET https://x.org/a?q=1&api_key=canary&z=2",
        "GET https://x.org/a?q=1&api_key=***&z=2",
    ),
}

INNOCENT = (
    "Bearer authentication failed: no token was sent",
    "ask-the-expert and task-1234567890123456 are names, so is desk-drawer-12345678",
    "the JSON key 'eyJust' is unknown",
    "https://api.github.com/repos?page=2&sort=asc: 404",
    "http://localhost:12010/mcp and ssh://git@host/path: refused",
    "-----BEGIN CERTIFICATE----- MIIB",
    "github.repos.list: tool 'ghost' is unknown; did you mean 'get'?",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
)


@pytest.mark.requirement("observe.no_secrets")
@pytest.mark.parametrize("title", SHAPED)
def test_what_has_the_shape_of_a_token_is_masked(title: str) -> None:
    text, left = SHAPED[title]
    assert Redactor().text(text) == left
    secret = secret_within(text)
    assert secret
    assert text.replace(secret, MASK) == left
    assert "canary" not in left


@pytest.mark.parametrize("text", INNOCENT)
def test_other_words_stay(text: str) -> None:
    assert Redactor(["s3cret-value"]).text(text) == text
    assert secret_within(text) is None


@given(st.text(alphabet="aB3+/=n\\ \n-", max_size=300).map(lambda text: text * 4))
def test_masking_leaves_json_valid(text: str) -> None:
    end = "\n-----END PRIVATE KEY-----"
    assert isinstance(json.loads(Redactor().text(json.dumps(text + end))), str)


SECRETS = st.text(min_size=6, max_size=40).filter(lambda text: bool(text.strip("*")))


@pytest.mark.requirement("observe.no_secrets")
@given(st.lists(SECRETS, min_size=1, max_size=4), st.text(), st.text())
def test_a_known_secret_is_in_no_text(secrets: list[str], before: str, after: str) -> None:
    redactor = Redactor(secrets)
    for secret in secrets:
        left = redactor.text(f"{before}{secret}{after}")
        assert MASK in left
        assert not [each for each in secrets if each in left.replace(MASK, "\0")]


@given(SECRETS.filter(lambda text: '"' not in text and "\\" not in text and text.isprintable()))
def test_masked_json_stays_json(secret: str) -> None:
    line = json.dumps({"message": f"it said {secret}!", "n": 1}, ensure_ascii=False)
    # A secret that looks like the JSON around it is nobody's; it would be masked there too.
    if line.count(secret) == 1:
        read = json.loads(Redactor([secret]).text(line))
        assert secret not in read["message"].replace(MASK, "\0")
        assert read["n"] == 1


@given(st.text(alphabet="sk-_=?&:/@ .eyJBearhgpAKI0123456789", max_size=300))
def test_masking_twice_is_masking_once(text: str) -> None:
    once = Redactor().text(text)
    assert Redactor().text(once) == once


@pytest.mark.parametrize(
    "written",
    [
        'a"b\\c dé',
        json.dumps('a"b\\c dé'),
        json.dumps(repr('a"b\\c dé')),
        json.dumps(json.dumps('a"b\\c dé')),
        repr('a"b\\c dé'),
        "https://x.org/?v=a%22b%5Cc%20d%C3%A9",
        "a%22b%5Cc+d%C3%A9",
    ],
)
def test_a_secret_is_found_however_it_is_written(written: str) -> None:
    left = Redactor(['a"b\\c dé']).text(f"<{written}>")
    assert "b" not in left.replace("https://x.org", "")
    assert MASK in left


@pytest.mark.requirement("observe.forms")
@pytest.mark.parametrize("secret", ["a value/1+2", "né&me=x y", "a%20b;c d", "(x) [y]{z}|~'s"])
@pytest.mark.parametrize("place", ["https://x.org/{}", "https://x.org/?q={}"])
def test_a_secret_is_found_as_an_http_client_writes_it(place: str, secret: str) -> None:
    sent = str(httpx.URL(place.format(secret)))
    assert Redactor([secret]).text(f"GET {sent} failed") == f"GET {place.format(MASK)} failed"


def test_a_line_of_a_secret_with_several_lines_is_secret() -> None:
    redactor = Redactor([PEM])
    assert redactor.text("stderr: MIIEowIBAAKCAQEAcanary+/=") == f"stderr: {MASK}"
    assert Redactor(["first-line-of-it\n}\n"]).text("}") == "}"


def test_the_secrets_of_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "from-a-variable")
    loaded = load_document(
        {
            "servers": {
                "a": {
                    "command": "c",
                    "args": ["${CANARY}", "--api-key", "from-args", "--token=from-option", "plain"],
                    "env": {"API_KEY": "from-env", "LOG_LEVEL": "debugging", "TOKEN": "0"},
                },
                "b": {"url": "https://x.org", "headers": {"Authorization": "from-header"}},
            },
            "auth": {"tokens": [{"name": "alice", "token": "from-auth"}]},
        }
    )
    assert secrets_of(loaded) == {"from-a-variable", "from-env", "from-header", "from-auth"} | {
        "from-args",
        "from-option",
    }


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert Redactor(["abcdef", "abcdefghij"]).text("<abcdefghij>") == f"<{MASK}>"


@pytest.mark.requirement("observe.errors")
def test_a_servers_own_error_is_masked_in_message_and_data() -> None:
    data: Json = {"with": ["canary-1"], "n": 1}
    error = UpstreamError(ToolRef("s", "t"), RpcError(-32000, "no canary-1", data))
    error.reword(Redactor(["canary-1"]).json)
    assert (error.rpc.code, error.rpc.message) == (-32000, f"no {MASK}")
    assert error.rpc.data == {"with": [MASK], "n": 1}
    assert str(error) == error.message == f"s.t: no {MASK} (JSON-RPC error -32000)"


def test_a_url_that_a_user_is_to_open_is_not_broken() -> None:
    data: Json = {"elicitations": [{"url": "https://x.org/?token=canary-1"}]}
    rpc = RpcError(RpcError.URL_ELICITATION_REQUIRED, "open it", data)
    error = UpstreamError(ToolRef("s", "t"), rpc)
    error.reword(Redactor().json)
    assert error.rpc.data == data


def test_values_of_json_are_masked_and_keys_stay() -> None:
    masked = Redactor(["canary-1"]).json(
        {"a": ["canary-1", 1, None, True], "canary-1": {"b": "x canary-1 y"}}
    )
    assert masked == {"a": [MASK, 1, None, True], "canary-1": {"b": f"x {MASK} y"}}


@pytest.mark.requirement("observe.told")
def test_prose_is_masked_and_what_calls_are_made_of_is_not() -> None:
    schema: JsonObject = {
        "required": ["eu-west-1"],
        "properties": {
            "description": {"enum": ["eu-west-1"], "default": "eu-west-1"},
            "eu-west-1": {"title": "eu-west-1", "examples": [{"a": ["eu-west-1"]}]},
        },
    }
    said: JsonObject = {"name": "eu-west-1", "call": "use(region='eu-west-1')"}
    told = Redactor(["eu-west-1"]).prose(
        [{**said, "description": "in eu-west-1", "inputSchema": schema}]
    )
    masked: JsonObject = {
        "required": ["eu-west-1"],
        "properties": {
            "description": {"enum": ["eu-west-1"], "default": MASK},
            "eu-west-1": {"title": MASK, "examples": [{"a": [MASK]}]},
        },
    }
    assert told == [{**said, "description": f"in {MASK}", "inputSchema": masked}]


# What stands before a token, or after it, where a server says it.
SEPARATORS = (
    "",
    "\n",
    "\r\n",
    "\t",
    '"',
    "'",
    "\\",
    "é",
    "汉",
    " ",
    "=",
    ":",
    "%3D",
    "\x1b[31m",
    "\u200b",
)
ENCODED: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "repr": repr,
    "ascii": ascii,
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "a URL": quote,
    "a form": quote_plus,
    "the log": lambda text: _logged(logs.LineFormatter, text),
    "the readable log": lambda text: _logged(logs.ReadableFormatter, text),
    "an exception of the log": lambda text: _logged(logs.LineFormatter, "it failed", text),
}
# Without letters before or after it that would belong to it.
TOKENS = {
    title: secret
    for title, (text, _) in SHAPED.items()
    if "pem" not in title.lower() and (secret := secret_within(text))
}


def _logged(
    form: type[logs.ReadableFormatter | logs.LineFormatter], text: str, error: str = ""
) -> str:
    facts: dict[str, object] = {"msg": "said: %s", "args": (text,), "said": [{"text": text}]}
    if error:
        try:
            _fail(error)
        except ValueError:
            facts["exc_info"] = sys.exc_info()
    return form(Redactor()).format(logging.makeLogRecord(facts))


@pytest.mark.requirement("observe.order")
@pytest.mark.parametrize("channel", ENCODED)
@pytest.mark.parametrize("title", SHAPED)
def test_a_token_is_masked_whatever_stands_around_it(title: str, channel: str) -> None:
    text, _ = SHAPED[title]
    secret = secret_within(text) or ""
    core = secret.strip()[-12:]
    for before, after in itertools.product(SEPARATORS, SEPARATORS):
        told = Redactor().text(ENCODED[channel](f"{before and 'it said'}{before}{text}{after}"))
        assert core not in told.replace("\\", ""), (before, after, told)


@pytest.mark.requirement("observe.forms")
@given(st.binary(max_size=5), SECRETS, st.binary(max_size=5))
def test_a_known_secret_is_found_in_base64(before: bytes, secret: str, after: bytes) -> None:
    raw = before + secret.encode(errors="replace") + after
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert MASK in Redactor([secret]).text(encode(raw).decode()) or len(secret.encode()) < 7


def _fail(with_words: str) -> None:
    raise ValueError(with_words)


def _record() -> logging.LogRecord:
    facts = {
        "msg": "token %s of %r",
        "args": (TOKEN, {"url": "redis://u:canary@h"}),
        "header": "Bearer canary-12345678",
    }
    try:
        _fail(f"cannot use {TOKEN} here")
    except ValueError:
        return logging.makeLogRecord({**facts, "exc_info": sys.exc_info()})
    raise AssertionError


@pytest.mark.requirement("observe.no_secrets")
@pytest.mark.parametrize("form", [logs.ReadableFormatter, logs.LineFormatter])
def test_messages_arguments_and_exceptions_are_masked(
    form: type[logs.ReadableFormatter | logs.LineFormatter],
) -> None:
    written = form(Redactor([TOKEN])).format(_record())
    assert "canary" not in written
    assert "ValueError: cannot use *** here" in written
    assert "redis://u:***@h" in written


def test_configured_logs_are_masked() -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logs.configure(readable=False, stream=stream, redactor=Redactor(["canary-token"]))
        logging.getLogger("mcproxy.test").info("it is canary-token")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        logging.getLogger("mcproxy").setLevel(logging.NOTSET)
    assert json.loads(stream.getvalue())["message"] == f"it is {MASK}"


@pytest.mark.requirement("observe.fields")
@pytest.mark.parametrize("readable", [True, False])
def test_what_a_line_is_about_is_told_and_masked(readable: bool) -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logs.configure(readable=readable, stream=stream, redactor=Redactor(["canary-token"]))
        line = ServerLog(logging.getLogger("mcproxy.test"), "echo")
        line.warning("restart in %g s", 1.5)
        facts = {"server": "echo", "tool": "canary-token", "ms": 3.5}
        logging.getLogger("mcproxy.test").info("a call", extra=facts)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        logging.getLogger("mcproxy").setLevel(logging.NOTSET)
    first, second = stream.getvalue().splitlines()
    assert "echo: restart in 1.5 s" in first
    assert "canary" not in second
    if not readable:
        told = json.loads(first)
        assert (told["server"], told["message"]) == ("echo", "echo: restart in 1.5 s")
        told = json.loads(second)
        assert (told["server"], told["tool"], told["ms"]) == ("echo", MASK, 3.5)


NAMES = {
    "GITHUB_TOKEN": True,
    "apiKey": True,
    "--api-key": True,
    "X-API-Key": True,
    "Authorization": True,
    "DB_PASSWORD": True,
    "client_secret": True,
    "OPENAI_KEY": True,
    "LOG_LEVEL": False,
    "KEYBOARD": False,
    "MAX_TOKENS": False,
    "AUTHOR": False,
    "PATH": False,
    "PUBLIC_KEY": False,
    "MONKEY": False,
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_secrets(name: str) -> None:
    assert names_a_secret(name) is NAMES[name]


def test_random_words() -> None:
    assert looks_random("9f86d081884c7d659a2feaa0c55ad015")
    assert looks_random("aZ3kQ9xL0pR7tV2wB5nM8cD1")
    assert not looks_random("@modelcontextprotocol/server-everything")
    assert not looks_random("ghcr.io/github/github-mcp-server")
    assert not looks_random("a-long-name-of-words-without-any-digit")
