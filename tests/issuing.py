"""An OAuth issuer on a real socket, whose keys and answers the test decides, and its tokens."""

import http.server
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from mcproxy.types import Json, JsonObject

AUDIENCE = "https://mcp.example.org"
CURVES: dict[str, type[ec.EllipticCurve]] = {
    "ES256": ec.SECP256R1,
    "ES384": ec.SECP384R1,
    "ES512": ec.SECP521R1,
}


@dataclass(frozen=True)
class Signer:
    """A key pair: what signs, and the public JWK."""

    algorithm: str
    private: Any
    jwk: JsonObject

    @property
    def kid(self) -> str:
        """The name of the key."""
        return str(self.jwk["kid"])


def signer(kid: str, algorithm: str = "ES256", bits: int = 2048) -> Signer:
    """A new key pair."""
    private: Any
    if algorithm in CURVES:
        private = ec.generate_private_key(CURVES[algorithm]())
        jwk = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    elif algorithm == "EdDSA":
        private = ed25519.Ed25519PrivateKey.generate()
        jwk = OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
    else:
        private = rsa.generate_private_key(65537, bits)
        jwk = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return Signer(algorithm, private, {**jwk, "kid": kid})


def claims(issuer: str, **changed: Json) -> JsonObject:
    """Claims of a good token for ``alice``; None takes one away."""
    now = int(time.time())
    good: JsonObject = {"iss": issuer, "aud": AUDIENCE, "sub": "alice", "exp": now + 600}
    return {key: value for key, value in {**good, **changed}.items() if value is not None}


def signed(by: Signer, payload: JsonObject, **header: Json) -> str:
    """A token; header members that are None are taken away."""
    told = {key: value for key, value in {"kid": by.kid, **header}.items() if value is not None}
    return jwt.encode(payload, by.private, algorithm=by.algorithm, headers=told)


@dataclass
class Issuer:
    """What it answers is in ``pages``, by path: JSON, bytes as they are, or a status."""

    url: str
    key: Signer
    pages: dict[str, Json | bytes] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.publish(self.key)

    def publish(self, *keys: Signer) -> None:
        """Have these keys from now on; the first of them signs."""
        self.key = keys[0]
        self.pages["/jwks"] = {"keys": [each.jwk for each in keys]}
        self.pages["/.well-known/openid-configuration"] = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/jwks",
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "response_types_supported": ["code"],
        }

    def fail(self) -> None:
        """Answer nothing but 503 from now on, until ``publish``."""
        self.pages = dict.fromkeys(self.pages, 503)

    def token(self, **changed: Json) -> str:
        """A token for ``alice``, other claims as given."""
        return signed(self.key, claims(self.url, **changed))


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    issuer: Issuer


class _Pages(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        issuer = self.server.issuer
        issuer.asked[self.path] += 1
        page = issuer.pages.get(self.path, 404)
        self._answer(page)

    def do_POST(self) -> None:
        """The token endpoint: anybody gets the scopes that he asks for."""
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        issuer = self.server.issuer
        issuer.asked[self.path] += 1
        token = issuer.token(scope=form.get("scope", [""])[0])
        self._answer({"access_token": token, "token_type": "Bearer", "expires_in": 600})

    def _answer(self, page: Json | bytes) -> None:
        status = page if isinstance(page, int) else 200
        body = page if isinstance(page, bytes) else json.dumps(page).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if 300 <= status < 400:
            self.send_header("Location", "/jwks")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


@contextmanager
def issuing(port: int = 0, path: str = "", key: Signer | None = None) -> Iterator[Issuer]:
    """An issuer that listens, on a free port or on this one, with this key or a new one."""
    with _Server(("127.0.0.1", port), _Pages) as server:
        url = f"http://127.0.0.1:{server.server_port}{path}"
        server.issuer = Issuer(url, key or signer("first"))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.issuer
        finally:
            server.shutdown()
            thread.join(timeout=10)
