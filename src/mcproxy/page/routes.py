"""The page's routes: who looks is settled first, then what it asks for is shown or done.

A request for a page passes what every request passes (``judged``, ``recognise``); here is decided
whether it may look at the page at all. Each change is a POST from one of our own pages.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeAlias
from urllib.parse import parse_qs

from msgspec.structs import replace
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mcproxy.frontends.request_auth import Site, caller, recognise, stopping, verdict
from mcproxy.frontends.responses import http_error
from mcproxy.gateway.approval_records import STATES
from mcproxy.page.decisions import decision_routes
from mcproxy.page.live import Viewings
from mcproxy.page.parts import PARTS, Console, Look, Shows
from mcproxy.page.rendering import html, render, static
from mcproxy.page.viewers import COOKIE, SESSION_SECS, PageSessions, Viewer, viewer_of
from mcproxy.policy.access import AccessDenied
from mcproxy.types import Caller

MAX_FORM_BYTES = 16 << 10
_ELSEWHERE = (
    "This page is shown without a token only on the machine that the gateway runs on, under "
    "http://127.0.0.1 or localhost. To use it from elsewhere, configure auth.tokens."
)

Form: TypeAlias = Mapping[str, str]
Change: TypeAlias = Callable[[Request, Viewer, Form], Awaitable[Response]]


class Page:
    """The page of one gateway; ``viewings`` are to be closed when it stops."""

    def __init__(self, site: Site, console: Console) -> None:
        self.site, self.console = site, console
        self.viewings = Viewings()
        self._sessions = PageSessions()

    def routes(self) -> list[Route]:
        """The routes of the page, and those of an operator's commands."""
        changes: Mapping[str, Change] = {
            "/ui/servers/{server}/{action}": self._act,
            "/ui/approvals/{id}/{said}": self._settle,
            "/ui/trust/{mark}": self._accept,
            "/ui/logout": self._logout,
        }
        return [
            *(Route(path, partial(self._view, show)) for path, show in PARTS.items()),
            *(
                Route(path, partial(self._change, change), methods=["POST"])
                for path, change in changes.items()
            ),
            Route("/ui/login", self._login, methods=["POST"]),
            Route("/ui/static/{name}", self._static),
            *decision_routes(self.site, self.console),
        ]

    async def _view(self, show: Shows, request: Request) -> Response:
        found = await self._viewer(request)
        if isinstance(found, Response):
            return found
        return await show(Look(self.console, self.viewings, request, found))

    async def _static(self, request: Request) -> Response:
        found = static(request, request.path_params["name"]) if self.console.enabled() else None
        return found or http_error(request, HTTPException(404))

    async def _act(self, request: Request, viewer: Viewer, form: Form) -> Response:
        """Do something with a server."""
        server, action = request.path_params["server"], request.path_params["action"]
        if server not in viewer.servers or action not in self.console.actions:
            return http_error(request, HTTPException(404))
        self.console.actions[action](server)
        return _back(request, "/")

    async def _settle(self, request: Request, viewer: Viewer, form: Form) -> Response:
        """Approve or refuse a call that waits; for operators only."""
        said = request.path_params["said"]
        if said not in STATES or not viewer.operator:
            return http_error(request, HTTPException(404))
        await self.console.settle(request.path_params["id"], said)
        return _back(request, "/")

    async def _accept(self, request: Request, viewer: Viewer, form: Form) -> Response:
        """Accept a definition that is held, as it was shown; for operators only."""
        if not viewer.operator or not {"source", "name"} <= form.keys():
            return http_error(request, HTTPException(404))
        await self.console.accept(form["source"], form["name"], request.path_params["mark"])
        return _back(request, "/")

    async def _login(self, request: Request) -> Response:
        """Take a token, and remember it for the browser that showed it."""
        refused = self._refused(request)
        if refused:
            return refused
        token = (await _form(request)).get("token", "").strip()
        await recognise(self.site, request)
        shown = replace(caller(request), token=token or None)
        try:
            known = await self.site.verified(shown)
            viewer_of(self.console.published.snapshot.policy, known, "")
        except AccessDenied as fault:
            return _ask(str(fault))
        if not token:
            return _ask("Enter a token.")
        response = _back(request, "/")
        secure = (verdict(request).base or "").startswith("https:")
        response.set_cookie(
            COOKIE,
            self._sessions.open(token),
            max_age=SESSION_SECS,
            httponly=True,
            samesite="strict",
            secure=secure,
        )
        return response

    async def _logout(self, request: Request, viewer: Viewer, form: Form) -> Response:
        self._sessions.close(request.cookies.get(COOKIE, ""))
        response = _back(request, "/")
        response.delete_cookie(COOKIE)
        return response

    async def _change(self, change: Change, request: Request) -> Response:
        """Let a viewer change something, who shows that one of our pages wants it."""
        found = await self._viewer(request)
        if isinstance(found, Response):
            return found
        form = await _form(request)
        shown = request.headers.get("x-csrf-token") or form.get("csrf_token", "")
        if not found.wants(shown):
            text = "This change did not come from the page; load the page again and repeat it."
            return html(render("notice.html", {"title": "Not changed", "text": text}), 403)
        return await change(request, found, form)

    def _refused(self, request: Request) -> Response | None:
        """The refusal of whatever is no business of the page's, and of others' pages."""
        if not self.console.enabled():
            return http_error(request, HTTPException(404))
        if self.site.gate.closed:
            return stopping(self.site, request)
        found = verdict(request)
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site", "none")
        own = origin is None or origin == found.base
        if found.foreign or not own or (request.method == "POST" and site == "cross-site"):
            text = "Pages of other origins may not use this page."
            return html(render("notice.html", {"title": "Refused", "text": text}), 403)
        return None

    async def _viewer(self, request: Request) -> Viewer | Response:
        """Who looks; or what is shown in place of the page."""
        refused = self._refused(request)
        if refused:
            return refused
        id_ = request.cookies.get(COOKIE, "")
        token = self._sessions.token(id_)
        known, policy = await self._caller(request, token), self.console.published.snapshot.policy
        if known.token is None and policy.has_auth:
            return _ask("")
        if known.token is None and not (known.local and verdict(request).base):
            return html(
                render("notice.html", {"title": "A token is needed", "text": _ELSEWHERE}), 403
            )
        try:
            # Without a session a change is not made by one.
            return viewer_of(policy, known, self._sessions.csrf(id_ if token else ""))
        except AccessDenied as fault:
            return _ask(str(fault))

    async def _caller(self, request: Request, token: str | None) -> Caller:
        """Who asks: by the header, as for every request, or by the token of its session."""
        await recognise(self.site, request)
        shown = caller(request)
        if shown.token is not None or token is None:
            return shown
        return await self.site.verified(replace(shown, token=token))


def _ask(why: str) -> Response:
    """The form for a token."""
    return html(render("login.html", {"why": why}), 401)


def _back(request: Request, path: str) -> Response:
    """Look at the page again (RFC 9110, 15.4.4); for htmx nothing: what changed comes by itself."""
    if request.headers.get("hx-request"):
        return Response(status_code=204)
    return Response(status_code=303, headers={"Location": path})


async def _form(request: Request) -> Form:
    """The fields of a form (HTML standard, "URL-encoded form data"); of a large one, none."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM_BYTES:
            return {}
    text = body.decode("utf-8", "replace")
    fields = parse_qs(text, keep_blank_values=True, max_num_fields=20)
    return {name: values[-1] for name, values in fields.items()}
