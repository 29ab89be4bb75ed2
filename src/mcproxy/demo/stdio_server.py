"""JSON-RPC 2.0 over stdio: one JSON text a line in, one out.

The tools answer within milliseconds, so requests are served one after the other and there is
nothing to cancel: ``answer`` is a function from line to reply, and ``serve`` the loop around it.
"""

import json
import sys
import traceback
from contextlib import suppress

from mcproxy.demo.protocol import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    PARSE_ERROR,
    ProtocolError,
    Server,
    dispatch,
)
from mcproxy.demo.schema import Json, JsonObject


def serve(server: Server) -> None:
    """Answer the requests on stdin, one JSON text a line, until it ends."""
    with suppress(KeyboardInterrupt, BrokenPipeError):
        for line in sys.stdin.buffer:
            reply = answer(server, line)
            if reply is not None:
                # An unpaired surrogate leaves as the JSON escape that it arrived as.
                text = json.dumps(reply, ensure_ascii=False, separators=(",", ":"))
                sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")
                sys.stdout.buffer.flush()


def answer(server: Server, line: bytes) -> Json:
    """Return the reply to one line of input, None where none is due."""
    try:
        message: Json = json.loads(line)
    except (ValueError, RecursionError) as error:
        return _error(None, ProtocolError(PARSE_ERROR, f"This line is not JSON: {error}"))
    if isinstance(message, list) and message:  # a batch, which 2025-03-26 allows
        replies: list[Json] = [
            reply for entry in message if (reply := _handle(server, entry)) is not None
        ]
        return replies or None
    return _handle(server, message)


def _handle(server: Server, message: Json) -> Json:
    """Return the reply to one JSON-RPC message; None for notifications and for responses."""
    if not isinstance(message, dict):
        return _error(None, ProtocolError(INVALID_REQUEST, "A message must be a JSON object."))
    if "id" not in message or "method" not in message:
        return None
    try:
        result = dispatch(server, *_method_and_params(message))
    except ProtocolError as error:
        return _error(message["id"], error)
    except Exception:  # noqa: BLE001 - one bad call must not end the server
        traceback.print_exc()
        return _error(message["id"], ProtocolError(INTERNAL_ERROR, f"{server.name} has a defect."))
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


def _method_and_params(message: JsonObject) -> tuple[str, JsonObject]:
    method, params = message["method"], message.get("params", {})
    if not isinstance(method, str) or not isinstance(params, dict):
        raise ProtocolError(
            INVALID_REQUEST, "A request needs a string 'method' and an object 'params'."
        )
    return method, params


def _error(request_id: Json, error: ProtocolError) -> JsonObject:
    body: JsonObject = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return {"jsonrpc": "2.0", "id": request_id, "error": body}
