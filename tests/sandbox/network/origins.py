"""Hosts for scripts to reach: an HTTP and a TLS server on loopback, under made-up public names.

``Origins.net`` stands for the outside in an ``Egress``: names resolve to what ``addresses`` says,
and whatever public address is dialled leads to the two servers.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import h11
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mcproxy.sandbox.network.dialling import Net
from mcproxy.sandbox.network.relay import ByteStream, HttpEnd

PUBLIC = "93.184.215.14"
NAMES = ("api.github.test", "raw.suffix.test", "hang.suffix.test")
_DAY = timedelta(days=1)


@dataclass
class Origins:
    """``seen``: the requests that arrived, ``arrived`` is set then, ``left`` when one that hung
    is given up. ``dialled``: where connections went. ``addresses`` says what names resolve to."""

    ports: Mapping[int, int]
    certificate: Path
    addresses: dict[str, Sequence[str]] = field(
        default_factory=lambda: dict.fromkeys(NAMES, (PUBLIC,))
    )
    dialled: list[tuple[str, int]] = field(default_factory=list)
    seen: list[h11.Request] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def forget(self) -> None:
        """Be as in the beginning."""
        self.addresses = dict.fromkeys(NAMES, (PUBLIC,))
        self.dialled.clear()
        self.seen.clear()
        self.arrived.clear()
        self.left.clear()

    @property
    def net(self) -> Net:
        return Net(self._look_up, self._dial)

    def _look_up(self, host: str, port: int) -> Sequence[str]:
        if host not in self.addresses:
            raise OSError(f"no such name: {host}")
        return self.addresses[host]

    async def _dial(self, address: str, port: int) -> ByteStream:
        self.dialled.append((address, port))
        return ByteStream(*await asyncio.open_connection("127.0.0.1", self.ports[port]))

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Tell what was asked, or do what the path says."""
        end = HttpEnd(h11.SERVER, ByteStream(reader, writer))
        try:
            await self._answer(end)
        except (OSError, h11.ProtocolError):
            pass  # a client that goes away
        finally:
            writer.close()

    async def _answer(self, end: HttpEnd) -> None:
        request = await end.next()
        if not isinstance(request, h11.Request):
            return
        self.seen.append(request)
        self.arrived.set()
        path, _, query = request.target.decode().partition("?")
        if path == "/hang":
            await end.closed()
            self.left.set()
            return
        body = b""
        while isinstance(event := await end.next(), h11.Data):
            body += event.data
        if path == "/redirect":
            await _send(end, 302, b"", [("Location", query)])
        elif path == "/big":
            await _send(end, 200, b"x" * int(query), [])
        else:
            told = {
                "method": request.method.decode(),
                "path": request.target.decode(),
                "headers": {name.decode(): value.decode() for name, value in request.headers},
                "body": body.decode(),
            }
            await _send(end, 200, json.dumps(told).encode(), [])


async def _send(end: HttpEnd, status: int, body: bytes, more: list[tuple[str, str]]) -> None:
    headers = [("Content-Length", str(len(body))), ("Content-Type", "application/json"), *more]
    await end.send(h11.Response(status_code=status, headers=headers))
    await end.send(h11.Data(data=body))
    await end.send(h11.EndOfMessage())


@asynccontextmanager
async def origins(folder: Path) -> AsyncIterator[Origins]:
    """Start both servers; the certificate of their authority is put into ``folder``."""
    certificate, chain = make_certificates(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)
    made = Origins({}, certificate)
    plain = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    secure = await asyncio.start_server(made.answer, "127.0.0.1", 0, ssl=context)
    async with plain, secure:
        made.ports = {
            80: plain.sockets[0].getsockname()[1],
            443: secure.sockets[0].getsockname()[1],
        }
        yield made


def make_certificates(folder: Path) -> tuple[Path, Path]:
    """An authority's certificate, and a key with a certificate for NAMES."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _certificate(authority_key, authority_key, "Test Authority", ())
    leaf = _certificate(key, authority_key, "Test Server", NAMES)
    pem = serialization.Encoding.PEM
    certificate, chain = folder / "authority.pem", folder / "server.pem"
    certificate.write_bytes(authority.public_bytes(pem))
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain.write_bytes(private + leaf.public_bytes(pem))
    return certificate, chain


def _certificate(
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    name: str,
    hosts: Sequence[str],
) -> x509.Certificate:
    subject, issuer = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
        for text in (name, "Test Authority")
    )
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.BasicConstraints(ca=not hosts, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            critical=False,
        )
    )
    if hosts:
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    else:
        usage = x509.KeyUsage(*(use in (5, 6) for use in range(9)))
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(signer, hashes.SHA256())
