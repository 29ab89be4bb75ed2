"""A stdio server that is fine until its tools are listed, and then does harm in one of these ways:

python -m bench.hostile_server mute|junk|notes|lines|crash
"""

import json
import os
import sys
import time
from collections.abc import Callable

MIB = 1 << 20


def _say(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def _mute() -> None:
    """Asks without end, and reads no reply."""
    for number in range(sys.maxsize):
        _say({"id": f"q{number}", "method": "ping"})


def _junk() -> None:
    """One line without end."""
    while True:
        os.write(1, b"x" * MIB)


def _notes() -> None:
    """Says without end that its tools changed, and more."""
    told = {"method": "notifications/message", "params": {"level": "info", "data": "x" * 1000}}
    while True:
        _say({"method": "notifications/tools/list_changed"})
        _say(dict(told))


def _lines() -> None:
    """Lines over the limit."""
    while True:
        os.write(1, b'{"jsonrpc":"2.0","id":1,"result":"' + b"x" * (20 * MIB) + b'"}\n')
        time.sleep(0.1)


def _crash() -> None:
    """Ends."""
    os._exit(1)


HARMS: dict[str, Callable[[], None]] = {
    "mute": _mute,
    "junk": _junk,
    "notes": _notes,
    "lines": _lines,
    "crash": _crash,
}


def main() -> None:
    """Serve the handshake and one list, then do harm."""
    harm = HARMS[sys.argv[1]]
    for line in sys.stdin:
        message = json.loads(line)
        match message.get("method"):
            case "initialize":
                about = {"name": "hostile", "version": "1"}
                version = message["params"]["protocolVersion"]
                capabilities = {"tools": {"listChanged": True}}
                result = {"protocolVersion": version, "serverInfo": about}
                _say({"id": message["id"], "result": {**result, "capabilities": capabilities}})
            case "tools/list":
                tool = {"name": "harm", "inputSchema": {"type": "object"}}
                _say({"id": message["id"], "result": {"tools": [tool]}})
                harm()
            case _ if "id" in message and "method" in message:
                _say({"id": message["id"], "error": {"code": -32601, "message": "no"}})


if __name__ == "__main__":
    main()
