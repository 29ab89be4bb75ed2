"""Read the server name out of a TLS ClientHello (RFC 8446, 4.1.2; RFC 6066, 3). Pure.

This is all that the gateway ever reads of TLS: it shows that a tunnel carries TLS, and to which
host. What follows stays between the script and that host. An encrypted ClientHello is refused,
because its true server name could be another one.
"""

from collections.abc import Iterator

MOST_BYTES = 1 << 16  # of records that may hold the ClientHello; usual ones have 0.5 to 2 KiB

_HANDSHAKE, _MAJOR_VERSION, _MOST_IN_RECORD = 22, 3, 1 << 14
_CLIENT_HELLO, _HOST_NAME = 1, 0
_SERVER_NAME, _ENCRYPTED_CLIENT_HELLO = 0, 0xFE0D


class NotAClientHello(ValueError):
    """What was sent first into a tunnel is not the beginning of TLS that can be let through."""


def server_name(data: bytes) -> str | None:
    """The host named in a ClientHello at the start of ``data``; None while bytes are missing.

    Raises NotAClientHello as soon as it is certain, also where no host is named.
    """
    message = _message(data)
    return None if message is None else _name_in(_extensions(message))


def _message(data: bytes) -> bytes | None:
    """The body of the ClientHello, put together from the records that it is spread over."""
    message, at = b"", 0
    while at < len(data):
        header = data[at : at + 5]
        _refuse_unless(header[0] == _HANDSHAKE, "it is not TLS")
        _refuse_unless(header[1:2] in (b"", bytes([_MAJOR_VERSION])), "it is not TLS")
        if len(header) < 5:
            return None
        length = int.from_bytes(header[3:])
        _refuse_unless(0 < length <= _MOST_IN_RECORD, "a TLS record has an impossible length")
        message += data[at + 5 : at + 5 + length]
        at += 5 + length
        _refuse_unless(message[:1] in (b"", bytes([_CLIENT_HELLO])), "it is no ClientHello")
        size = int.from_bytes(message[1:4]) if len(message) >= 4 else MOST_BYTES
        _refuse_unless(size <= MOST_BYTES, "the ClientHello is too long")
        if len(message) >= 4 + size and at <= len(data):
            _refuse_unless(len(message) == 4 + size, "more follows the ClientHello at once")
            return message[4:]
    _refuse_unless(len(data) < MOST_BYTES, "the ClientHello is too long")
    return None


def _extensions(hello: bytes) -> dict[int, bytes]:
    rest = hello[34:]  # version and random
    for size_bytes in (1, 2, 1):  # session id, cipher suites, compression methods
        _, rest = _vector(rest, size_bytes)
    block, rest = _vector(rest, 2)
    _refuse_unless(not rest, "the ClientHello is malformed")
    found: dict[int, bytes] = {}
    for kind, value in _typed(block, 2):
        _refuse_unless(kind not in found, "the ClientHello repeats an extension")
        found[kind] = value
    return found


def _name_in(extensions: dict[int, bytes]) -> str:
    _refuse_unless(_ENCRYPTED_CLIENT_HELLO not in extensions, "the ClientHello is encrypted")
    _refuse_unless(_SERVER_NAME in extensions, "the ClientHello names no server")
    block, rest = _vector(extensions[_SERVER_NAME], 2)
    names = list(_typed(block, 1))
    _refuse_unless(not rest and len(names) == 1, "the ClientHello names several servers")
    kind, name = names[0]
    _refuse_unless(kind == _HOST_NAME and name.isascii(), "the server name is no host name")
    return name.decode()


def _typed(block: bytes, type_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Entries of a list: a type, then a vector."""
    while block:
        kind = int.from_bytes(block[:type_bytes])
        value, block = _vector(block[type_bytes:], 2)
        yield kind, value


def _vector(data: bytes, size_bytes: int) -> tuple[bytes, bytes]:
    """A vector with its size in front (RFC 8446, 3.4), and what follows it."""
    end = size_bytes + int.from_bytes(data[:size_bytes])
    _refuse_unless(len(data) >= max(end, size_bytes), "the ClientHello is malformed")
    return data[size_bytes:end], data[end:]


def _refuse_unless(condition: bool, reason: str) -> None:
    if not condition:
        raise NotAClientHello(reason)
