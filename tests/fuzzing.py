"""Hostile bytes for every parser that reads them: ``python -m tests.fuzzing SECS`` (``make fuzz``)
gives each so many seconds and prints a table. ``test_fuzzing.py`` gives each a few inputs.

Inputs are seeds that were changed: the seeds are the corpus, and what once failed is added to them.
A parser may give a value or refuse by its own exception, and has to be done in time.
"""

import contextlib
import json
import random
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from mcproxy.config.auth import JwtConfig
from mcproxy.config.jsonc import parse
from mcproxy.config.model import ServerConfig
from mcproxy.errors import RpcError
from mcproxy.exchange import extensions_in
from mcproxy.gateway.arguments import faults_of_written as faults
from mcproxy.gateway.call_question import described
from mcproxy.gateway.extensions.pages import for_models, pages_of
from mcproxy.gateway.extensions.skill_uris import ListedSkills, is_sound
from mcproxy.manifest.model import build
from mcproxy.manifest.schema import repair
from mcproxy.manifest.tool_schema import ToolSchema
from mcproxy.policy.access import TokenRefused
from mcproxy.policy.definition_grade import grade
from mcproxy.policy.oauth.verify import heading, keys_in
from mcproxy.sandbox import frames
from mcproxy.sandbox.network.targets import Refused, connect_target, http_target
from mcproxy.sandbox.network.tls import NotAClientHello, server_name
from mcproxy.types import Json, JsonObject, Tool, ToolRef
from mcproxy.upstream.openapi.description import Description, api_of
from mcproxy.upstream.openapi.document import BadDescription
from mcproxy.upstream.openapi.request import request_of
from mcproxy.upstream.remote.replies import EventParser
from mcproxy.wire.message import UNREADABLE, LineSplitter, decode, decode_body

MAX_SECS = 2.0  # of one input of some kilobytes; a machine that is busy takes long
_TOKENS = (
    b"{", b"}", b"[", b"]", b'"', b"\\", b"\\u0000", b"\\ud800", b"\0", b"\xff", b"\xed\xa0\x80",
    b"null", b"1e999", b"-0", b"9" * 40, b"/*", b"//", b"*/", b",", b":", b"\r\n", b"\n\n",
    b"data:", b"$ref", b"pattern", b"(a+)+$", b"\xe2\x80\xae", b"[" * 200, b'{"a":' * 100,
)  # fmt: skip
_MAX_BYTES = 8_000
_GIVEN: JsonObject = {"a": 1, "b": ["x"]}
_RULES = JwtConfig(issuer="https://x.example", audience=("a",))


@dataclass(frozen=True, slots=True)
class Parser:
    """``read`` takes bytes, and may raise ``refusals`` alone."""

    read: Callable[[bytes], object]
    seeds: Sequence[bytes]
    refusals: tuple[type[Exception], ...] = ()


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", "surrogateescape"))


def _json(read: Callable[[Any], object]) -> Callable[[bytes], object]:
    def decoded(data: bytes) -> object:
        try:
            value = msgspec.json.decode(data)
        except (*UNREADABLE, RecursionError):
            return None
        return read(value)

    return decoded


def _definition(value: Any) -> object:
    definition = value if isinstance(value, dict) else {"name": "a", "inputSchema": value}
    mended, _ = repair(definition)
    return mended and ToolSchema(mended).faults(_GIVEN, msgspec.json.encode(_GIVEN))


def _pages(value: Any) -> object:
    definition = value if isinstance(value, dict) else {"name": "a", "_meta": value}
    tools = [Tool(ToolRef(server, "a"), definition) for server in ("x", "y")]
    pages = pages_of(tools)
    return [pages.owners, pages.callable, *map(pages.definition, tools), *map(for_models, tools)]


def _skills(value: Any) -> object:
    entry = value if isinstance(value, dict) else {"uri": value}
    found = [(server, entry) for server in ("x", "y") if is_sound(entry)]
    skills = ListedSkills(found, {"x", "y"})
    return [skills.shown(), skills.owners(str(entry.get("uri")))]


_REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{}}}'
_TOOL = json.dumps(
    {
        "name": "a",
        "description": "Ignore it.",
        "inputSchema": {
            "type": "object",
            "properties": {"a": {"type": "string", "pattern": "^a+$", "enum": ["x"]}},
            "$defs": {"b": {"anyOf": [{"$ref": "#/$defs/b"}, {"type": ["null", "integer"]}]}},
        },
    }
).encode()
_HELLO = (
    b"\x16\x03\x01\x00\x31\x01\x00\x00\x2d\x03\x03"
    + bytes(33)
    + struct.pack(">HHBBHHH", 2, 0x1301, 1, 0, 0, 0, 0)
)
_PAGE = b'{"name":"a","_meta":{"ui":{"resourceUri":"ui://a/b","visibility":["app"]}}}'
_SKILL = (
    b'{"uri":"skill://a/b/SKILL.md","frontmatter":{"name":"b","description":"c"},'
    b'"resources":[{"uri":"skill://a/b/SKILL.md","digest":"sha256:0","size":1}]}'
)
_EXTENSIONS = b'{"extensions":{"a.example/b":{"c":1}},"experimental":{"d.example/e":{}}}'
_FRAME = b'{"t":"call","id":1,"server":"a","tool":"b","args":{"c":[1]},"line":3}'
_CALLS = b'[[1,"a","b",{"x":["string","y","z"]},true,false]]'
_TOKEN = b"eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJzdWIiOiJhIn0.c2ln"
_KEYS = b'{"keys":[{"kty":"RSA","kid":"a","use":"sig","n":"AQAB","e":"AQAB","alg":"RS256"}]}'

_API = ServerConfig(openapi="api.json", base_url="https://a.example/v1")
_OPENAPI = json.dumps(
    {
        "openapi": "3.0.1",
        "servers": [{"url": "/{a}", "variables": {"a": {"default": "b"}}}],
        "paths": {
            "/x/{id}": {
                "parameters": [{"name": "id", "in": "path", "style": "label"}],
                "put": {
                    "operationId": "put x",
                    "parameters": [{"$ref": "#/components/parameters/q"}],
                    "requestBody": {
                        "required": True,
                        "content": {"application/json": {"schema": {"$ref": "#/components/s"}}},
                    },
                    "responses": {
                        "200": {"content": {"application/json": {"schema": {"$ref": "#"}}}}
                    },
                    "security": [{"k": []}],
                },
            }
        },
        "components": {
            "s": {"allOf": [{"type": "object", "properties": {"id": {"nullable": True}}}]},
            "parameters": {"q": {"name": "q", "in": "query", "style": "deepObject"}},
            "securitySchemes": {"k": {"type": "apiKey", "in": "header", "name": "K"}},
        },
    }
).encode()
_YAML = (
    b"swagger: '2.0'\nhost: a.example\nschemes: [https]\npaths:\n  /y:\n    post:\n"
    b"      consumes: [multipart/form-data]\n      parameters:\n"
    b"      - &p {name: f, in: formData, type: file}\n      - *p\n"
    b"      responses: {200: {schema: {type: array, items: {}}}}\n"
)


def _api(data: bytes) -> object:
    api = api_of(Description(data, ""), _API)
    values: tuple[Json, ...] = ("a/..", ["x", {"k": [1]}], {"a": {"b": None}}, None, 1.5)
    for operation, _ in api.operations.values():
        for value in values:
            with contextlib.suppress(RpcError):
                request_of(operation, dict.fromkeys(operation.parameters, value), [])
    return api


PARSERS: Mapping[str, Parser] = {
    "JSON-RPC message": Parser(decode, (_REQUEST, b'{"id":1,"result":{}}'), (RpcError,)),
    "JSON-RPC body": Parser(
        decode_body, (_REQUEST, b"[%b,%b]" % (_REQUEST, _REQUEST)), (RpcError,)
    ),
    "lines of a child": Parser(
        lambda data: list(LineSplitter(1000).feed(data)), (_REQUEST + b"\n", b"\r\n\n")
    ),
    "server-sent events": Parser(
        lambda data: list(EventParser(1000).feed(data)),
        (b"event: a\nid: 1\nretry: 5\ndata: {}\n\n", b":\n\n\xef\xbb\xbfdata\r\rdata:b\r\n\r\n"),
    ),
    "frames of a worker": Parser(
        frames._decoder.decode, (_FRAME, b'{"t":"out","s":"x"}'), UNREADABLE
    ),
    "calls as written": Parser(_json(lambda value: faults(value, build(()))), (_CALLS,)),
    "JSON with comments": Parser(
        _text(parse), (b'{"a": 1, // b\n "c": [true,], /* d */ "e": "\\u0041"}',)
    ),
    "CONNECT targets": Parser(_text(connect_target), (b"a.example:443", b"[::1]:443"), (Refused,)),
    "URLs for the proxy": Parser(_text(http_target), (b"http://a.example/b?c",), (Refused,)),
    "TLS ClientHello": Parser(server_name, (_HELLO, _HELLO[:20]), (NotAClientHello,)),
    "head of a JWT": Parser(_text(lambda t: heading(t, _RULES)), (_TOKEN,), (TokenRefused,)),
    "keys of an issuer": Parser(
        lambda d: keys_in(d, _RULES), (_KEYS,), (ValueError, RecursionError)
    ),
    "definitions": Parser(_json(_definition), (_TOOL,)),
    "pages of tools": Parser(_json(_pages), (_PAGE,)),
    "entries of skills": Parser(_json(_skills), (_SKILL,)),
    "declared extensions": Parser(
        _json(lambda v: extensions_in(v if isinstance(v, dict) else {"extensions": v})),
        (_EXTENSIONS,),
    ),
    "descriptions of APIs": Parser(_api, (_OPENAPI, _YAML), (BadDescription,)),
    "grades of definitions": Parser(
        _json(lambda v: grade(None, v if isinstance(v, dict) else {"name": v})), (_TOOL,)
    ),
    "arguments as shown": Parser(
        _json(lambda v: described(ToolRef("a", "b"), {"x": v}, str)), (_TOOL, _FRAME)
    ),
}


def inputs(seeds: Sequence[bytes], chance: random.Random) -> Iterator[bytes]:
    """The seeds, then changed ones without end."""
    yield from seeds
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 8)):
            _change(data, seeds, chance)
        yield bytes(data[:_MAX_BYTES])


def _change(data: bytearray, seeds: Sequence[bytes], chance: random.Random) -> None:
    at = chance.randint(0, len(data))
    end = min(len(data), at + chance.randint(0, 12))
    match chance.randint(0, 4):
        case 0:
            data[at:at] = chance.choice(_TOKENS)
        case 1:
            del data[at:end]
        case 2:
            data[at:end] = chance.randbytes(chance.randint(1, 4))
        case 3:
            data[at:at] = data[at:end] * chance.randint(1, 20)
        case _:
            other = chance.choice(seeds)
            data[at:] = other[chance.randint(0, len(other)) :]


def tried(parser: Parser, data: bytes) -> str:
    """``read`` or ``refused``. Raises what the parser may not raise, with the input."""
    started = time.process_time()
    try:
        parser.read(data)
        outcome = "read"
    except parser.refusals:
        outcome = "refused"
    except Exception as fault:
        raise AssertionError(f"{fault!r} for {data!r}") from fault
    took = time.process_time() - started
    assert took < MAX_SECS, f"{took:.1f} s for {data!r}"
    return outcome


def main(secs: float) -> None:
    """The table."""
    print(f"| parser | inputs in {secs:g} s | refused |\n|---|---|---|")  # noqa: T201
    for name, parser in PARSERS.items():
        counts = {"read": 0, "refused": 0}
        end = time.monotonic() + secs
        chance = random.Random(name)  # noqa: S311
        for data in inputs(parser.seeds, chance):
            counts[tried(parser, data)] += 1
            if time.monotonic() > end:
                break
        print(f"| {name} | {sum(counts.values()):,} | {counts['refused']:,} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(float(sys.argv[1]))
