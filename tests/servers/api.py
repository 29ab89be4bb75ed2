"""An HTTP API for tests: a small pet store, a small GitHub, and an echo of all other requests.

It listens on a free port, prints its URL, and serves the description named on its command line at
``/openapi``; ``PUT /openapi`` replaces it. It ends with its standard input.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
PETS: dict[int, dict[str, Any]] = {}
ISSUES: list[dict[str, Any]] = []


class State:
    """What is served as the description."""

    description = b""
    number = 0


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        """Answer a request of any method."""
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size)
        parts = urlsplit(self.path)
        if parts.path == "/openapi":
            self._description(body)
            return
        routes = (self._pets, self._issues, self._odd)
        if not any(route(parts.path, parts.query, body) for route in routes):
            self._echo(parts.path, parts.query, body)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = handle_any

    def log_message(self, *args: object) -> None:
        """Stay silent."""

    def reply(self, status: int, body: object, **headers: str) -> None:
        """Send an answer; what is no bytes becomes JSON."""
        is_json = not isinstance(body, bytes)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if is_json:
            self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _description(self, body: bytes) -> None:
        if self.command == "PUT":
            State.description, State.number = body, State.number + 1
            self.reply(204, b"")
            return
        tag = f'"{State.number}"'
        if self.headers.get("If-None-Match") == tag:
            self.reply(304, b"")
        else:
            self.reply(200, State.description, ETag=tag)

    def _pets(self, path: str, query: str, body: bytes) -> bool:
        steps = path.strip("/").split("/")
        if steps[1:2] != ["pet"]:
            return False
        if path.endswith("/findByStatus"):
            wanted = {value for _, value in parse_qsl(query)}
            self.reply(200, [pet for pet in PETS.values() if pet.get("status") in wanted])
        elif self.command in ("POST", "PUT") and len(steps) == 2:
            pet = json.loads(body)
            pet.setdefault("id", len(PETS) + 1)
            PETS[pet["id"]] = pet
            self.reply(200, pet)
        elif self.command == "GET" and len(steps) == 3:
            found = PETS.get(int(steps[2]))
            key = self.headers.get("api_key", "")
            missing = {"code": 1, "type": "error", "message": f"Pet not found, for {key}"}
            self.reply(200 if found else 404, found or missing)
        elif self.command == "DELETE" and len(steps) == 3:
            PETS.pop(int(steps[2]), None)
            self.reply(204, b"")
        else:
            return False
        return True

    def _issues(self, path: str, query: str, body: bytes) -> bool:
        if path != "/repos/octo/hello/issues":
            return False
        if self.command == "POST":
            ISSUES.append({"number": len(ISSUES) + 1, "state": "open", **json.loads(body)})
            self.reply(201, ISSUES[-1])
        else:
            asked = dict(parse_qsl(query))
            size, page = int(asked.get("per_page", 30)), int(asked.get("page", 1))
            self.reply(200, ISSUES[size * (page - 1) : size * page])
        return True

    def _odd(self, path: str, query: str, body: bytes) -> bool:
        key = self.headers.get("Authorization")
        answers: dict[str, tuple[int, object, dict[str, str]]] = {
            "picture": (200, PICTURE, {"Content_Type": "image/png"}),
            "bytes": (200, PICTURE, {"Content_Type": "application/octet-stream"}),
            "text": (200, "grüße".encode(), {"Content_Type": "text/plain; charset=utf-8"}),
            "no-json": (200, b"{broken", {"Content_Type": "application/json"}),
            "busy": (429, {"message": "slow down"}, {"Retry_After": "7"}),
            "elsewhere": (307, b"", {"Location": "http://127.0.0.2:9/other"}),
            "closed": (401, {"message": f"bad key {key}"}, {}),
        }
        name = path.rpartition("/")[2]
        if name == "long":
            long = b"[" + b"0," * (9 << 20) + b"0]"
            self.reply(200, long, Content_Type="application/json")
        elif name in answers:
            status, said, headers = answers[name]
            self.reply(status, said, **headers)
        return name in answers or name == "long"

    def _echo(self, path: str, query: str, body: bytes) -> None:
        told = {"method": self.command, "path": path, "query": query}
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.reply(200, {**told, "headers": headers, "body": body.decode("utf-8", "replace")})


def main() -> None:
    """Serve until standard input ends."""
    if len(sys.argv) > 1:
        State.description = Path(sys.argv[1]).read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}\n")
        sys.stdout.flush()
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
