"""What transports need to know of a message's parameters, without decoding the rest of them. Pure.

Nothing is refused here: parameters that are odd say nothing, and the gateway tells what is wrong.
"""

import msgspec

from mcproxy import mcp
from mcproxy.types import Json, JsonObject


class Params(msgspec.Struct, frozen=True):
    """The members of ``params`` that concern a transport, of any type."""

    name: Json = None
    uri: Json = None
    requestId: Json = None
    protocolVersion: Json = None
    capabilities: Json = None
    notifications: Json = None
    meta_member: Json = msgspec.field(default=None, name="_meta")

    @property
    def meta(self) -> JsonObject:
        """``_meta``, empty where it is missing or odd."""
        return self.meta_member if isinstance(self.meta_member, dict) else {}

    @property
    def progress_token(self) -> int | str | None:
        """The token with which the client wants to hear of progress."""
        token = self.meta.get(mcp.META_PROGRESS_TOKEN)
        return token if isinstance(token, int | str) else None


class _Arguments(msgspec.Struct):
    arguments: Json = None


_decoder = msgspec.json.Decoder(Params)
_arguments = msgspec.json.Decoder(_Arguments)
_NOTHING = Params()


def glance(params: bytes) -> Params:
    """Look at a message's parameters."""
    try:
        return _decoder.decode(params)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _NOTHING


def arguments_in(params: bytes) -> Json:
    """The arguments of a tool call, which cost more to read than all the rest."""
    try:
        return _arguments.decode(params).arguments
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
