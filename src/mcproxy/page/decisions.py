"""What waits for a person, for an operator's commands elsewhere: ``GET`` lists, ``POST`` settles.

``mcproxy approvals`` and ``mcproxy trust`` with ``--url`` ask here; on the gateway's own machine
they work on its state directory instead. Only a token that opens every namespace decides here: the
machine that a request comes from proves nothing, as agents run there too. No cookie counts, so no
page of anybody can make a browser decide.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mcproxy.call_errors import StateUnavailable
from mcproxy.frontends.request_auth import Site, caller, denied, foreign, recognise, stopping
from mcproxy.frontends.responses import http_error, json, refusal
from mcproxy.page.parts import Console
from mcproxy.policy.access import AccessDenied, operates

_NO_OPERATOR = (
    "Only a token that opens every namespace decides here: one of auth.tokens with the namespaces "
    '["*"]. On the gateway\'s own machine, leave out --url.'
)

Decide: TypeAlias = Callable[[Console, Request], Awaitable[Response]]


def decision_routes(site: Site, console: Console) -> list[Route]:
    """The routes, for operators alone."""
    decided: Mapping[tuple[str, str], Decide] = {
        ("GET", "/approvals"): _calls,
        ("POST", "/approvals/{id}/{said}"): _settle,
        ("GET", "/trust"): _definitions,
        ("POST", "/trust/{mark}"): _accept,
    }

    def route(method: str, path: str, decide: Decide) -> Route:
        async def answer(request: Request) -> Response:
            try:
                return await _refused(site, console, request) or await decide(console, request)
            except StateUnavailable as fault:
                return refusal(503, str(fault))

        return Route(path, answer, methods=[method])

    return [route(method, path, decide) for (method, path), decide in decided.items()]


async def _refused(site: Site, console: Console, request: Request) -> Response | None:
    """The refusal of whoever is no operator."""
    if turned_away := foreign(request):
        return turned_away
    if site.gate.closed:
        return stopping(site, request)
    await recognise(site, request)
    try:
        if operates(console.published.snapshot.policy, caller(request)):
            return None
    except AccessDenied as fault:
        return denied(site, request, fault)
    return refusal(403, _NO_OPERATOR)


async def _calls(console: Console, request: Request) -> Response:
    listed = await console.approvals.listed()
    return json({"waiting": [msgspec.to_builtins(record) for record in listed]})


async def _settle(console: Console, request: Request) -> Response:
    record = await console.settle(request.path_params["id"], request.path_params["said"])
    if record is None:
        return http_error(request, HTTPException(404))
    return json({"settled": msgspec.to_builtins(record)})


async def _definitions(console: Console, request: Request) -> Response:
    return json({"held": msgspec.to_builtins(console.ledger.waiting())})


async def _accept(console: Console, request: Request) -> Response:
    asked = request.query_params
    mark = request.path_params["mark"]
    await console.accept(asked.get("source", ""), asked.get("name", ""), mark)
    return json({})
