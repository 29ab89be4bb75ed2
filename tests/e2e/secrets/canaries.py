"""The planted secrets, and the servers that tell them.

Each has a core that no escaping changes: where the core is found in any form, the secret is out.
"""

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcproxy.types import JsonObject
from tests.e2e.gateways import SERVERS

# What the configuration has from variables, by the place where it stands there.
KNOWN = {
    "ENV": 'Zx7Env "quoted" \\back é',
    "ARG": "Zx7Arg-of-the-command",
    "HEADER": "Zx7Header-value",
    "URL": "Zx7Url value/1+2",
    "TOKEN": "Zx7Token-of-ann",
}
_PEM_LINES = "\n".join(f"Zx7Pem{line:02}{'aB3/' * 14}" for line in range(30))
# What no configuration has, and what has the form of a secret.
SHAPED = {
    "bearer": "Authorization: Bearer Zx7Bearer.abc-123",
    "sk-": "sk-proj-Zx7Openai1b2C3d4",
    "ghp_": "ghp_Zx7Github0000000000000000",
    "AKIA": "AKIAZX7AWS1234567890",
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.Zx7Jwt-signature",
    "a URL's password": "postgres://app:Zx7Password@db:5432/x",
    "a query's key": "https://api.example/v1?q=1&api_key=Zx7Query1",
}
BEFORE = ("", "\n", "\t", '"', "\\", "é", "\x1b[1m", "\u200b")
PEM = {
    "PEM": f"-----BEGIN PRIVATE KEY-----\n{_PEM_LINES}\n-----END PRIVATE KEY-----",
}
CORES = (
    *("Zx7Env", "Zx7Arg", "Zx7Header", "Zx7Url", "Zx7Token", "Zx7Bearer", "Zx7Openai"),
    *("Zx7Github", "ZX7AWS", "Zx7Jwt", "Zx7Password", "Zx7Query", "Zx7Pem"),
)


def configuration(directory: Path, remote: str) -> JsonObject:
    """Servers that tell what they know; ``remote`` is the address of one that repeats requests."""
    lines, everything = directory / "lines.json", directory / "everything.json"
    pem = directory / "pem.json"
    # In JSON a line break or a tab before a token is a letter of it.
    in_line = [f'"\t{secret}"' for secret in SHAPED.values()]
    in_lines = [f"{before}{secret}" for secret in SHAPED.values() for before in BEFORE]
    lines.write_text(json.dumps([*KNOWN.values(), *in_line]))
    everything.write_text(json.dumps([*KNOWN.values(), *in_lines, *PEM.values()]))
    pem.write_text(json.dumps([*PEM.values()]))
    told: JsonObject = {"env": {"KEY": "${ENV}"}}
    headers: JsonObject = {"X-Key": "${HEADER}"}
    return {
        "servers": {
            "leaky": {**_leaky(everything, "serve", "${ARG}"), **told},
            "crashing": _leaky(lines, "crash"),
            "pem": _leaky(pem, "crash"),
            "repeating": {"url": f"{remote}/mcp?x=${{URL}}", "headers": headers},
            "nobody": {"url": "http://127.0.0.1:9/${URL}", "headers": headers},
        },
        "namespaces": {"guarded": {"require_auth": True}},
        "trust": "off",  # else tools whose texts hide something could not be called
        "results": {"inline_kb": 256},
        "auth": {"tokens": [{"name": "ann", "token": "${TOKEN}", "namespaces": ["guarded"]}]},
        "sandbox": {"min_level": "none"},
        "manifests": {"startup_dwell_secs": 10},
        "audit": {"file": "audit.jsonl"},
    }


@contextmanager
def repeating() -> Iterator[str]:
    """A server that refuses every request in words that repeat it."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Repeating) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _Repeating(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = f"cannot log in with {self.headers.get('X-Key')} at {self.path}".encode()
        self.send_response(400)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _leaky(file: Path, mode: str, *more: str) -> JsonObject:
    arguments = [str(SERVERS / "leaky.py"), str(file), mode, *more]
    return {"command": sys.executable, "args": [*arguments]}
