"""HTML from the templates, files that go with it, and the headers that keep both to themselves.

Names and texts of servers are hostile: everything is escaped, and the browser is told to run no
script and apply no style but those that are files here (CSP Level 3), so that even a text which
found a way into the markup could do nothing.

The templates' language is loaded with the first page: it would be a tenth of every start.
"""

import gzip
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from mcproxy.page import words

if TYPE_CHECKING:
    from jinja2 import Environment

_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_CSP = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _CSP,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with none, forms come from the origin "null"
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_KEEP = "public, max-age=31536000, immutable"  # its URL has the file's hash
_COMPRESSIBLE = 1024  # bytes; less is one packet anyway


class File(NamedTuple):
    """A file for the browser."""

    body: bytes
    zipped: bytes
    media_type: str
    version: str


@cache
def environment() -> "Environment":
    """The templates; a name that is not there is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415  see above

    made = Environment(
        loader=PackageLoader("mcproxy.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        duration=words.duration, size=words.size, count=words.count, when=words.when
    )
    made.globals.update(asset=_asset)
    made.globals.update(parts=made.get_template("parts.html").module)
    return made


def render(template: str, facts: Mapping[str, object]) -> str:
    """A template with these facts."""
    return environment().get_template(template).render(facts)


def fragment(template: str, name: str, facts: Mapping[str, object]) -> str:
    """One block of a template, for a part of a page that is renewed by itself."""
    found = environment().get_template(template)
    return "".join(found.blocks[name](found.new_context(dict(facts))))


def html(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A page."""
    return Response(
        text, status, {**HEADERS, **(headers or {})}, media_type="text/html; charset=utf-8"
    )


def static(request: Request, name: str) -> Response | None:
    """A file of ours; None where there is none of that name."""
    file = _files().get(name)
    if file is None:
        return None
    headers = {**HEADERS, "Vary": "Accept-Encoding"}
    if request.query_params.get("v") == file.version:
        headers["Cache-Control"] = _KEEP
    zips = "gzip" in request.headers.get("accept-encoding", "")
    if zips and len(file.body) > _COMPRESSIBLE:
        headers["Content-Encoding"] = "gzip"
        return Response(file.zipped, 200, headers, media_type=file.media_type)
    return Response(file.body, 200, headers, media_type=file.media_type)


def _asset(name: str) -> str:
    return f"/ui/static/{name}?v={_files()[name].version}"


@cache
def _files() -> Mapping[str, File]:
    found: dict[str, File] = {}
    for item in files("mcproxy.page").joinpath("static").iterdir():
        media_type = _TYPES.get(item.name[item.name.rfind(".") :])
        if media_type:
            body = item.read_bytes()
            version = hashlib.sha256(body).hexdigest()[:12]
            found[item.name] = File(body, gzip.compress(body, 9), media_type, version)
    return found
