"""Requests of servers that are passed on to a client, and the client's answers.

The client must have declared the capability; an answer is waited for as long as a person may take.
Our ids are our own, so that those of several servers cannot meet.
"""

import asyncio
import itertools
from collections.abc import Callable, Collection

import msgspec

from mcproxy import mcp
from mcproxy.errors import RpcError
from mcproxy.exchange import not_declared
from mcproxy.types import Json, JsonObject
from mcproxy.wire.message import (
    UNREADABLE,
    Failure,
    Message,
    Notification,
    Request,
    RequestId,
    Response,
)

ANSWER_SECS = 600.0  # elicitation asks a person, who may be away from the desk

_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(dict[str, Json])


class Asking:
    """What one client has been asked and has not answered yet."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._waiting: dict[RequestId, asyncio.Future[bytes]] = {}

    async def ask(
        self,
        method: str,
        params: JsonObject,
        capabilities: Collection[str],
        send: Callable[[Message], None],
    ) -> JsonObject:
        """Ask the client. Raises RpcError: it cannot be asked, it refused, or it did not answer."""
        needed = mcp.ASKABLE.get(method)
        if method != "ping" and needed not in capabilities:
            raise not_declared(method)
        id_ = f"mcproxy-{next(self._ids)}"
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[id_] = reply
        send(Request(id_, method, _encode(params)))
        try:
            async with asyncio.timeout(ANSWER_SECS):
                return _object.decode(await reply)
        except (TimeoutError, asyncio.CancelledError) as error:
            send(Notification(mcp.CANCELLED, _encode({"requestId": id_})))
            if isinstance(error, asyncio.CancelledError):
                raise
            text = f"the client did not answer {method} within {ANSWER_SECS:g} s"
            raise RpcError(RpcError.INTERNAL_ERROR, text) from error
        except UNREADABLE as error:
            text = f"the client answered {method} with something that is no object"
            raise RpcError(RpcError.INTERNAL_ERROR, text) from error
        finally:
            del self._waiting[id_]

    def answered(self, message: Response | Failure) -> None:
        """Take the client's answer; one that nobody waits for is dropped."""
        reply = self._waiting.get(message.id) if message.id is not None else None
        if reply is None or reply.done():
            return
        if isinstance(message, Response):
            reply.set_result(message.result)
        else:
            reply.set_exception(message.error)
