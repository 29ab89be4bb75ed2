"""Pages of other origins, with a client that obeys the Fetch standard as a browser does."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import httpx
import pytest

from mcproxy.types import JsonObject
from tests.frontends.serving import BOTH, Served, events, request, serving

APP, ADMIN, EVIL = "https://app.example", "https://admin.example", "https://evil.example"
LOCAL = "http://localhost:5173"
CONFIG: JsonObject = {
    "servers": {"echo": {"command": "echo"}, "vault": {"command": "x", "namespace": "locked"}},
    "namespaces": {
        "app": {"extends": "public", "allowed_origins": [APP]},
        "locked": {"require_auth": True, "allowed_origins": [ADMIN]},
    },
    "auth": {"tokens": [{"name": "ada", "token": "t0k3n", "namespaces": ["locked"]}]},
}
LIST = request("tools/list")
HELLO = request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}})
STATELESS = {
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/list",
    "Mcp-Name": "x",
    "Mcp-Param-Region": "eu",
    "Last-Event-ID": "1-1",
}


class Blocked(Exception):
    """The browser does not send the request, or does not show the answer."""


@dataclass(frozen=True)
class Page:
    """A page that was loaded from ``origin``; every request has a preflight."""

    http: httpx.AsyncClient
    origin: str

    async def preflight(self, method: str, path: str, *headers: str) -> httpx.Response:
        asked = {"Origin": self.origin, "Access-Control-Request-Method": method}
        if headers:
            asked["Access-Control-Request-Headers"] = ",".join(sorted(map(str.lower, headers)))
        return await self.http.options(path, headers=asked)

    async def may_send(self, method: str, path: str, *headers: str) -> bool:
        answer = await self.preflight(method, path, *headers)
        return (
            answer.is_success
            and self.may_read(answer)
            and method in _listed(answer, "Access-Control-Allow-Methods")
            and {*map(str.upper, headers)} <= _listed(answer, "Access-Control-Allow-Headers")
        )

    def may_read(self, answer: httpx.Response) -> bool:
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers["Vary"] == "Origin"
        allowed: str | None = answer.headers.get("Access-Control-Allow-Origin")
        return allowed == self.origin

    async def fetch(
        self, method: str, path: str, body: JsonObject | None = None, **headers: str
    ) -> httpx.Response:
        """Raises Blocked."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if not await self.may_send(method, path, "Content-Type", *sent):
            raise Blocked
        sent |= {"Origin": self.origin, "Accept": BOTH}
        answer = await self.http.request(method, path, json=body, headers=sent)
        if not self.may_read(answer):
            raise Blocked
        return answer


def _listed(answer: httpx.Response, header: str) -> set[str]:
    return {name.strip().upper() for name in answer.headers.get(header, "").split(",")}


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(config=CONFIG) as served:
        yield served


def page(served: Served, origin: str) -> Page:
    return Page(served.http, origin)


@pytest.mark.requirement("http.pages")
async def test_a_page_of_a_listed_origin_has_a_session(served: Served) -> None:
    app = page(served, APP)
    opened = await app.fetch("POST", "/mcp/app", HELLO)
    assert "MCP-SESSION-ID" in _listed(opened, "Access-Control-Expose-Headers")
    session = opened.headers["Mcp-Session-Id"]
    listed = await app.fetch("POST", "/mcp/app", LIST, Mcp_Session_Id=session)
    assert listed.json()["result"]["tools"]
    assert (await app.fetch("DELETE", "/mcp/app", Mcp_Session_Id=session)).status_code == 204
    gone = await app.fetch("POST", "/mcp/app", LIST, Mcp_Session_Id=session)
    assert gone.status_code == 404  # and the page can read why


@pytest.mark.requirement("http.pages")
async def test_a_page_of_a_listed_origin_uses_sse(served: Served) -> None:
    app, headers = page(served, APP), {"Origin": APP, "Accept": BOTH}
    async with served.http.stream("GET", "/sse/app", headers=headers) as stream:
        assert app.may_read(stream)
        seen = events(stream)
        path = (await anext(seen)).data
        assert (await app.fetch("POST", path, LIST)).status_code == 202
        assert (await anext(seen)).message["id"] == 1
        with pytest.raises(Blocked):
            await page(served, EVIL).fetch("POST", path, LIST)
        refused = await served.http.post(path, json=LIST, headers={"Origin": EVIL})
        assert refused.status_code == 403
    # The session's endpoint counts for its messages only.
    asked = path.replace("/message", "/mcp/locked")
    assert (await served.http.post(asked, json=LIST)).status_code == 401


@pytest.mark.requirement("http.pages")
async def test_a_page_brings_a_token_and_reads_refusals(served: Served) -> None:
    admin = page(served, ADMIN)
    good = await admin.fetch("POST", "/mcp/locked", LIST, Authorization="Bearer t0k3n")
    assert good.json()["result"]["tools"]
    for path in ("/mcp/locked", "/mcp/nowhere"):
        bad = await admin.fetch("POST", path, LIST, Authorization="Bearer wrong")
        assert bad.status_code == 401
        assert "WWW-AUTHENTICATE" in _listed(bad, "Access-Control-Expose-Headers")
    byheader = {"Authorization": "Bearer t0k3n", "X_Namespace": "locked"}
    assert (await admin.fetch("POST", "/mcp", LIST, **byheader)).status_code == 200


@pytest.mark.requirement("http.pages")
@pytest.mark.parametrize("path", ["/mcp", "/message", "/sse"])
async def test_pages_of_this_machine(served: Served, path: str) -> None:
    for origin in (LOCAL, "http://127.0.0.1:3000", "http://[::1]:3000"):
        assert (await page(served, origin).fetch("POST", path, LIST)).json()["result"]["tools"]
    assert await page(served, LOCAL).may_send("POST", path, *STATELESS, "Authorization")


@pytest.mark.requirement("http.pages_refused")
@pytest.mark.parametrize(
    ("origin", "path", "headers"),
    [
        (EVIL, "/mcp", {}),
        (EVIL, "/mcp/app", {}),
        (EVIL, "/mcp/locked", {}),
        (EVIL, "/mcp/nowhere", {}),
        (EVIL, "/sse/app", {}),
        (EVIL, "/message", {}),
        (EVIL, "/mcp", {"X-Namespace": "app"}),
        ("null", "/mcp", {}),
        (APP, "/mcp", {}),  # the default namespace does not list it
        (APP, "/message", {}),
        (ADMIN, "/mcp/app", {}),
        (LOCAL, "/mcp/app", {}),  # a list of its own counts for this machine's pages too
        (APP, "/mcp", {"Host": "evil.example"}),
        (LOCAL, "/mcp", {"Host": "evil.example"}),
        (APP, "/mcp/app", {"Host": "evil.example"}),
        (APP, "/health", {}),
    ],
)
async def test_other_pages_are_not_helped(
    served: Served, origin: str, path: str, headers: Mapping[str, str]
) -> None:
    sent = {"Origin": origin, **headers}
    asked = {**sent, "Access-Control-Request-Method": "POST"}
    before = await served.http.options(path, headers=asked)
    answer = await served.http.post(path, json=LIST, headers=sent)
    assert before.is_error
    assert answer.is_error
    for reply in (before, answer):
        assert not [name for name in reply.headers if name.startswith("access-control")]


@pytest.mark.requirement("http.pages_refused")
async def test_a_preflight_tells_nothing_of_guarded_namespaces(served: Served) -> None:
    for origin in (APP, ADMIN, EVIL, LOCAL):
        for asked in ((), ("Authorization",), ("X-Namespace",)):
            told = [
                await page(served, origin).preflight("POST", path, *asked)
                for path in ("/mcp/locked", "/mcp/nowhere")
            ]
            (one, other) = [
                (reply.status_code, {**reply.headers, "date": ""}, reply.text) for reply in told
            ]
            assert one == other


@pytest.mark.requirement("http.pages_refused")
async def test_where_others_connect_only_lists_count() -> None:
    async with serving(config=CONFIG, bind="0.0.0.0") as served:
        assert await page(served, APP).may_send("POST", "/mcp/app")
        for origin in (LOCAL, EVIL):
            assert not await page(served, origin).may_send("POST", "/mcp")
            answer = await served.http.post("/mcp", json=LIST, headers={"Origin": origin})
            assert not page(served, origin).may_read(answer)


async def test_options_that_is_no_preflight(served: Served) -> None:
    answer = await served.http.options("/mcp")
    assert (answer.status_code, answer.headers["Allow"]) == (204, "POST, GET, DELETE, OPTIONS")
    odd = await page(served, LOCAL).preflight("POST", "/mcp", "Mcp-Param-a(b", "X-Other")
    assert "MCP-PARAM-" not in odd.headers["Access-Control-Allow-Headers"].upper()
