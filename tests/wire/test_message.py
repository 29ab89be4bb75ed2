"""JSON-RPC messages: what is read, what is refused and in which words, and that nothing is lost."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.errors import RpcError
from mcproxy.types import Json
from mcproxy.wire.message import (
    Failure,
    Message,
    Notification,
    Request,
    Response,
    decode,
    decode_body,
    encode,
    encode_batch,
    stand_in,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
IDS = st.integers(0, 2**53) | st.text(max_size=20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"jsonrpc":"2.0","id":1,"method":"ping"}', Request(1, "ping")),
        ('{"jsonrpc":"2.0","id":"a","method":"m","params":{"x":1}}', Request("a", "m", b'{"x":1}')),
        ('{"id":1,"method":"no/version"}', Request(1, "no/version")),
        ('{"jsonrpc":"2.0","id":2.0,"method":"m","params":null}', Request(2, "m")),
        ('{"jsonrpc":"2.0","method":"notifications/x"}', Notification("notifications/x")),
        ('{"jsonrpc":"2.0","id":1,"result":{"a": [1]}}', Response(1, b'{"a": [1]}')),
        ('{"jsonrpc":"2.0","id":1,"result":null}', Response(1, b"null")),
        ('{"id":1,"result":{},"error":null}', Response(1, b"{}")),
    ],
)
def test_reads(text: str, message: Message) -> None:
    assert decode(text.encode()) == message


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", RpcError.PARSE_ERROR, "not valid JSON"),
        ("{", RpcError.PARSE_ERROR, "not valid JSON"),
        ('{"id":1,"method":"m",}', RpcError.PARSE_ERROR, "not valid JSON"),
        ("[" * 100_000, RpcError.PARSE_ERROR, "not valid JSON"),
        ("17", RpcError.INVALID_REQUEST, "not a JSON-RPC message"),
        ("{}", RpcError.INVALID_REQUEST, 'expected "method"'),
        ('{"id":1}', RpcError.INVALID_REQUEST, 'expected "method"'),
        ('{"id":null,"method":"m"}', RpcError.INVALID_REQUEST, "a request's id"),
        ('{"id":[],"method":"m"}', RpcError.INVALID_REQUEST, "not a JSON-RPC message"),
        ('{"id":1,"method":7}', RpcError.INVALID_REQUEST, "not a JSON-RPC message"),
        ("[]", RpcError.INVALID_REQUEST, "the batch is empty"),
        ("[" + "{}," * 1000 + "{}]", RpcError.INVALID_REQUEST, "has 1001 messages, the limit is"),
    ],
)
def test_refuses(text: str, code: int, words: str) -> None:
    with pytest.raises(RpcError, match=words) as caught:
        decode_body(text.encode())
    assert caught.value.code == code


def test_error_replies_are_read_even_when_odd() -> None:
    plain = decode(b'{"id":1,"error":{"code":-1,"message":"no","data":[1]}}')
    assert isinstance(plain, Failure)
    assert (plain.error.code, plain.error.message, plain.error.data) == (-1, "no", [1])
    odd = decode(b'{"id":1,"error":"it broke"}')
    assert isinstance(odd, Failure)
    assert "it broke" in odd.error.message


@pytest.mark.requirement("wire.unreadable")
@pytest.mark.parametrize(
    ("line", "id_"),
    [
        (b'{"jsonrpc":"2.0","id":7,"result":{"text":"\xff"}}', 7),
        (b'{"jsonrpc": "2.0", "id": 7, "result": {"text": "\\ud800"}}', 7),
        (b'{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"\xff"}}', 7),
        (b'{"jsonrpc":"2.0","id":7,"result":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 7),
        (b'{"result":' + b"[" * 100_000 + b"]" * 100_000 + b',"jsonrpc":"2.0","id":7}', 7),
        (b'{"jsonrpc":"2.0","id":' + b"7" * 5000 + b',"result":"\xff"}', None),
        (b'{"jsonrpc":"2.0","method":"m","params":{"id":7,"x":"\xff"}}', None),
        (b"Listening, see http://localhost:7", None),
        (b'{"level":"info","id":7,"message":"\xff"}', None),
    ],
)
def test_a_reply_that_cannot_be_read_has_a_stand_in(line: bytes, id_: int | None) -> None:
    with pytest.raises(RpcError) as caught:
        decode(line)
    failure = stand_in(line, caught.value)
    assert (failure.id if failure else None) == id_
    assert failure is None or "cannot be read" in failure.error.message


def test_what_an_error_brings_along_can_be_walked() -> None:
    failure = decode(b'{"id":1,"error":{"message":"no","data":' + b"[" * 900 + b"]" * 900 + b"}}")
    assert isinstance(failure, Failure)
    assert (failure.error.message, failure.error.data) == ("no", None)


def test_each_fault_of_a_batch_stands_alone() -> None:
    first, second, third = decode_batch('[{"id":1,"method":"a"}, 5, {"method":"b"}]')
    assert first == Request(1, "a")
    assert isinstance(second, RpcError)
    assert third == Notification("b")


def decode_batch(text: str) -> list[Message | RpcError]:
    received = decode_body(text.encode())
    assert isinstance(received, list)
    return received


@given(IDS, st.text(min_size=1), st.dictionaries(st.text(), JSON, max_size=4))
def test_requests_survive_the_wire(id_: int | str, method: str, params: dict[str, Json]) -> None:
    request = Request(id_, method, json.dumps(params, indent=1).encode())
    line = encode(request)
    assert b"\n" not in line
    read = decode(line)
    assert isinstance(read, Request)
    assert (read.id, read.method, json.loads(read.params)) == (id_, method, params)


@given(IDS, JSON)
def test_results_survive_the_wire(id_: int | str, result: Json) -> None:
    raw = json.dumps(result, indent=1).encode()
    (read,) = decode_batch(encode_batch([Response(id_, raw)]).decode())
    assert isinstance(read, Response)
    assert (read.id, json.loads(read.result)) == (id_, result)


@given(st.integers(-40_000, 0), st.text(), JSON)
def test_errors_survive_the_wire(code: int, text: str, data: Json) -> None:
    read = decode(encode(Failure(1, RpcError(code, text, data))))
    assert isinstance(read, Failure)
    assert (read.error.code, read.error.message, read.error.data) == (code, text, data)
