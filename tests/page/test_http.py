"""The page over HTTP: who may look, what it shows to whom, and what changes take."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import httpx
import pytest

from mcproxy.page.live import HEARTBEAT_SECS, MAX_VIEWERS
from mcproxy.types import JsonObject
from tests.e2e.gateways import Running, gateway
from tests.page.pages import GUARDED, OPEN, OTHER_TOKEN, TOKEN

BOUND_SECS = 20.0
PATHS = ("/", "/ui/executions", "/ui/search?q=add", "/ui/tools", "/ui/tokens", "/ui/history.json")
MOST_BYTES = 150_000


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with gateway(tmp_path_factory.mktemp("open"), OPEN) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with gateway(tmp_path_factory.mktemp("guarded"), GUARDED) as running:
        yield running


def csrf(text: str) -> str:
    found = re.search(r'<meta name="csrf-token" content="([0-9a-f]+)">', text)
    assert found
    return found[1]


def state(running: Running, server: str) -> str:
    """A server's state as ``/health`` has it."""
    return str(running.http.get("/health").json()["servers"][server]["state"])


def wait_for(running: Running, server: str, wanted: str) -> None:
    until = time.monotonic() + BOUND_SECS
    while state(running, server) != wanted:
        assert time.monotonic() < until, state(running, server)
        time.sleep(0.05)


@contextmanager
def signed_in(running: Running, token: str) -> Iterator[httpx.Client]:
    """A browser in which somebody has shown a token."""
    with httpx.Client(base_url=running.http.base_url, trust_env=False) as client:
        answer = client.post("/ui/login", data={"token": token})
        assert answer.status_code == 303, answer.text
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert token not in cookie
        yield client


@pytest.mark.requirement("page.access")
@pytest.mark.parametrize("path", PATHS)
def test_without_auth_the_page_is_for_this_machine(opened: Running, path: str) -> None:
    answer = opened.http.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    if answer.headers["content-type"].startswith("text/html"):
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert " style=" not in answer.text
        assert " onclick" not in answer.text


@pytest.mark.requirement("page.access")
@pytest.mark.parametrize("path", [*PATHS, "/ui/live/overview"])
def test_with_auth_a_token_is_asked_for(guarded: Running, path: str) -> None:
    answer = guarded.http.get(path)
    assert answer.status_code == 401
    assert 'name="token"' in answer.text
    assert "echo" not in answer.text
    assert guarded.http.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401


@pytest.mark.requirement("page.access")
def test_a_wrong_token_is_refused_in_words(guarded: Running) -> None:
    for token in ("wrong", ""):
        answer = guarded.http.post("/ui/login", data={"token": token})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert 'role="alert"' in answer.text


@pytest.mark.requirement("page.visible")
def test_a_viewer_sees_what_its_token_opens(guarded: Running) -> None:
    guarded.tool("execute", code="1")  # anonymous
    with signed_in(guarded, TOKEN) as alice, signed_in(guarded, OTHER_TOKEN) as bob:
        assert 'data-server="secret"' in alice.get("/").text
        assert 'data-server="secret"' not in bob.get("/").text
        assert 'data-server="echo"' in bob.get("/").text
        assert "data-execution" in alice.get("/ui/executions").text
        assert "data-execution" not in bob.get("/ui/executions").text
        shown = re.search(r'data-execution="(\w+)"', alice.get("/ui/executions").text)
        assert shown
        assert alice.get(f"/ui/executions/{shown[1]}").status_code == 200
        assert bob.get(f"/ui/executions/{shown[1]}").status_code == 404
        assert bob.get("/ui/tools/secret/add?namespace=private").status_code == 404
        assert "anonymous" not in bob.get("/ui/tokens").text
        refused = bob.post(
            "/ui/servers/secret/restart", data={"csrf_token": csrf(bob.get("/").text)}
        )
        assert refused.status_code == 404


@pytest.mark.requirement("page.approvals")
def test_an_approval_is_for_those_who_may_use_everything(guarded: Running) -> None:
    with signed_in(guarded, TOKEN) as alice, signed_in(guarded, OTHER_TOKEN) as bob:
        asked: JsonObject = {"code": "api.server('echo').add(a=1, b=2)"}
        call: JsonObject = {"name": "execute", "arguments": asked}
        request: JsonObject = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        guarded.post(request, Authorization=f"Bearer {OTHER_TOKEN}")
        shown = re.search(r'data-approval="(\w+)"', alice.get("/").text)
        assert shown
        assert "data-approval" not in bob.get("/").text
        for client, status in ((bob, 404), (alice, 303)):
            number = {"csrf_token": csrf(client.get("/").text)}
            answer = client.post(f"/ui/approvals/{shown[1]}/approve", data=number)
            assert answer.status_code == status
        assert "data-approval" not in alice.get("/").text
        again = guarded.post(request, Authorization=f"Bearer {OTHER_TOKEN}")
        assert again.json()["result"]["structuredContent"]["result"] == {"sum": 3}


@pytest.mark.requirement("page.access")
def test_signing_out_ends_the_session(guarded: Running) -> None:
    with signed_in(guarded, TOKEN) as alice:
        cookies = dict(alice.cookies)
        page = alice.get("/")
        assert alice.post("/ui/logout", data={"csrf_token": csrf(page.text)}).status_code == 303
        alice.cookies.update(cookies)
        assert alice.get("/").status_code == 401


FORGED = [
    {"headers": {}, "data": {}},
    {"headers": {}, "data": {"csrf_token": "0" * 64}},
    {"headers": {"X-CSRF-Token": "é".encode()}, "data": {}},
    {"headers": {"Origin": "https://evil.example"}, "right": True},
    {"headers": {"Origin": "null"}, "right": True},
    {"headers": {"Origin": "http://localhost:1"}, "right": True},
    {"headers": {"Sec-Fetch-Site": "cross-site"}, "right": True},
    {"headers": {"Host": "evil.example"}, "right": True},
]


@pytest.mark.requirement("page.changes")
@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("where", ["opened", "guarded"])
def test_a_change_from_elsewhere_is_refused(
    request: pytest.FixtureRequest, where: str, forged: dict[str, object]
) -> None:
    running: Running = request.getfixturevalue(where)
    headers = forged["headers"]
    assert isinstance(headers, dict)
    before = running.http.get("/health").json()["servers"]["echo"]["pid"]
    with signed_in(running, TOKEN) if where == "guarded" else nullcontext(running.http) as client:
        right = {"csrf_token": csrf(client.get("/").text)} if forged.get("right") else {}
        answer = client.post("/ui/servers/echo/restart", headers=headers, data=right)
        assert answer.status_code == 403, answer.text
        assert client.get("/ui/servers/echo/restart").status_code == 405
    assert running.http.get("/health").json()["servers"]["echo"]["pid"] == before


@pytest.mark.requirement("page.changes")
def test_the_number_of_one_session_is_worth_nothing_in_another(guarded: Running) -> None:
    with signed_in(guarded, TOKEN) as alice, signed_in(guarded, TOKEN) as other:
        theirs = csrf(other.get("/").text)
        answer = alice.post("/ui/servers/echo/restart", data={"csrf_token": theirs})
        assert answer.status_code == 403


@pytest.mark.requirement("page.servers")
def test_a_server_is_restarted_turned_off_and_on(opened: Running) -> None:
    number = csrf(opened.http.get("/").text)

    def act(action: str) -> None:
        headers = {"X-CSRF-Token": number, "HX-Request": "true"}
        answer = opened.http.post(f"/ui/servers/echo/{action}", headers=headers)
        assert answer.status_code == 204

    before = opened.http.get("/health").json()["servers"]["echo"]["pid"]
    act("restart")
    until = time.monotonic() + BOUND_SECS
    while opened.http.get("/health").json()["servers"]["echo"]["pid"] in (before, None):
        assert time.monotonic() < until
        time.sleep(0.05)
    wait_for(opened, "echo", "ready")
    act("disable")
    wait_for(opened, "echo", "disabled")
    said = opened.run("api.server('echo').add(a=1, b=2)")
    assert "turned off" in str(said["error"])
    assert "Turn on" in opened.http.get("/").text
    act("enable")
    wait_for(opened, "echo", "ready")
    assert opened.run("api.server('echo').add(a=1, b=2)")["result"] == {"sum": 3}
    unknown = opened.http.post("/ui/servers/echo/explode", headers={"X-CSRF-Token": number})
    assert unknown.status_code == 404


@pytest.mark.requirement("page.same_numbers")
def test_the_numbers_are_those_of_health_and_metrics(opened: Running) -> None:
    for _ in range(3):
        opened.run("api.server('markup').image()")
    metrics = opened.http.get("/metrics").text
    counted = re.search(
        r'mcproxy_call_seconds_count\{server="markup",tool="image"\} ([\d.]+)', metrics
    )
    assert counted
    row = re.search(r'<tr[^>]*data-server="markup">(.*?)</tr>', opened.http.get("/").text, re.S)
    assert row
    shown = re.search(r'data-label="calls">\s*([\d\u2009]+)', row[1])
    assert shown
    assert float(shown[1]) == float(counted[1])
    tools = re.search(r'data-label="tools">\s*(\d+)', row[1])
    assert tools
    assert int(tools[1]) == opened.http.get("/health").json()["servers"]["markup"]["tools"]


@pytest.mark.requirement("page.live")
def test_the_stream_brings_a_part_when_it_changes(opened: Running) -> None:
    with opened.http.stream("GET", "/ui/live/executions", timeout=BOUND_SECS) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: executions"
        opened.run("len('a script that is seen')")
        latest = opened.http.get("/ui/executions").text
        id_ = re.search(r'data-execution="(\w+)"', latest)
        assert id_
        assert any(id_[1] in line for line in lines)
    assert HEARTBEAT_SECS < 30, "proxies close what is silent for 30 s"


@pytest.mark.requirement("page.bounded")
def test_so_many_may_look_on_and_no_more(opened: Running) -> None:
    with httpx.Client(
        base_url=opened.http.base_url,
        trust_env=False,
        limits=httpx.Limits(max_connections=MAX_VIEWERS + 2),
        timeout=BOUND_SECS,
    ) as client:
        streams = [
            client.send(client.build_request("GET", "/ui/live/overview"), stream=True)
            for _ in range(MAX_VIEWERS + 1)
        ]
        statuses = [stream.status_code for stream in streams]
        for stream in streams:
            stream.close()
    assert statuses == [200] * MAX_VIEWERS + [503]
    until = time.monotonic() + BOUND_SECS
    while True:  # those that left make room
        with opened.http.stream("GET", "/ui/live/overview") as one:
            if one.status_code == 200:
                break
        assert time.monotonic() < until


@pytest.mark.requirement("page.light")
def test_the_first_page_is_light(opened: Running) -> None:
    page = opened.http.get("/")
    total = int(page.headers["content-length"])
    for path in re.findall(r'(?:src|href)="(/ui/static/[^"]+)"', page.text):
        file = opened.http.get(path)
        assert file.status_code == 200
        assert "immutable" in file.headers["cache-control"]
        total += int(file.headers["content-length"])
    assert total <= MOST_BYTES
    assert opened.http.get("/ui/static/..%2froutes.py").status_code == 404


@pytest.mark.requirement("page.hostile")
def test_texts_of_servers_are_shown_as_they_are(opened: Running) -> None:
    for path in ("/", "/ui/tools", "/ui/tools/markup/image", "/ui/search?q=image"):
        text = opened.http.get(path).text
        assert "<img" not in text
        assert "owned'</script>" not in text
        assert "\u202e" not in text
    assert "&lt;img" in opened.http.get("/ui/tools/markup/image").text
    assert opened.http.get("/ui/tools/markup/a%2Fb%3Fc=d%26e").status_code == 200
    assert len(opened.http.get("/ui/tools/markup/long").content) < 200_000
    query = "<script>alert(1)</script>{{ 7*7 }}"
    said = opened.http.get("/ui/search", params={"q": query}).text
    assert "<script>alert" not in said
    assert "{{ 7*7 }}" in said


@pytest.mark.requirement("page.held")
def test_what_is_held_is_accepted_on_the_page(opened: Running) -> None:
    page = opened.http.get("/").text
    held = re.findall(r'data-held="([^"]+)"', page)
    assert "markup.backwards" in held
    assert "\u202e" not in page
    entry = page[page.index('data-held="markup.backwards"') :]
    action = re.search(r'action="(/ui/trust/[^"]+)"', entry)
    assert action
    form = {"csrf_token": csrf(page), "source": "markup", "name": "backwards"}
    old = opened.http.post("/ui/trust/0", data=form)  # not what was shown
    assert old.status_code == 303
    assert 'data-held="markup.backwards"' in opened.http.get("/").text
    assert opened.http.post(action[1], data=form).status_code == 303
    until = time.monotonic() + BOUND_SECS
    while True:
        said = opened.run("api.server('markup').backwards()")
        if said["status"] == "success":
            break
        assert time.monotonic() < until, said
        time.sleep(0.05)
    assert 'data-held="markup.backwards"' not in opened.http.get("/").text


@pytest.mark.requirement("page.off")
def test_page_false_leaves_nothing_of_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    config: JsonObject = {"servers": {}, "page": False}
    with gateway(tmp_path_factory.mktemp("off"), config) as running:
        for path in (*PATHS, "/ui/static/page.css", "/ui/live/overview"):
            assert running.http.get(path).status_code == 404, path
        assert running.http.post("/ui/login", data={"token": "x"}).status_code == 404


@pytest.mark.requirement("page.access")
def test_from_elsewhere_without_auth_the_page_says_what_to_do(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    config: JsonObject = {"servers": {"echo": {"command": "no-such-command"}}}
    with gateway(tmp_path_factory.mktemp("far"), config, "--host", "0.0.0.0") as running:
        port = running.http.base_url.port
        near = f"http://127.0.0.1:{port}/"
        assert httpx.get(near, trust_env=False).status_code == 200
        for headers in ({"X-Forwarded-For": "192.0.2.1"}, {"Host": "rebound.example"}):
            answer = httpx.get(near, headers=headers, trust_env=False)
            assert answer.status_code == 403
            assert "auth.tokens" in answer.text
            assert "echo" not in answer.text


@pytest.mark.requirement("page.tokens")
def test_tokens_are_shown_by_client(opened: Running) -> None:
    info: JsonObject = {"name": "an-ide", "version": "1"}
    hello: JsonObject = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}
    first = opened.post(
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}, "/mcp"
    )
    headers = {"Mcp-Session-Id": first.headers["mcp-session-id"]}
    listing: JsonObject = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}
    assert opened.post(listing, "/mcp", **headers).status_code == 200
    row = re.search(r"<th scope=\"row\">an-ide</th>(.*?)</tr>", opened.http.get("/ui/tokens").text)
    assert row
    lists, direct = re.findall(r'<td class="n">(?:≈ )?([\d\u2009]+)</td>', row[1])[1::3]
    assert 100 < int(lists.replace("\u2009", "")) <= 900
    assert int(direct.replace("\u2009", "")) > 500
