"""The page in a real browser: what an operator sees and does, by mouse and by keyboard."""

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.e2e.gateways import Running, gateway
from tests.page.pages import ASKING, CHROMIUM, GUARDED, OPEN, TOKEN

AXE = Path(__file__).parents[1] / "node/node_modules/axe-core/axe.min.js"
SOON_MS = 2000  # within which a row shows what became of its server
BOUND_MS = 15_000
PARTS = (
    "/",
    "/ui/executions",
    "/ui/search?q=add+numbers",
    "/ui/tools",
    "/ui/tools/echo/add",
    "/ui/tokens",
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with gateway(tmp_path_factory.mktemp("browser"), OPEN) as running:
        yield running


@pytest.fixture
def page(browser: Browser, running: Running) -> Iterator[Page]:
    """A page of its own, which must log no error: a script or style that was refused is one."""
    context = browser.new_context(base_url=str(running.http.base_url))
    page = context.new_page()
    page.set_default_timeout(BOUND_MS)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    yield page
    context.close()
    assert not errors


def row(page: Page, server: str) -> str:
    return f'tr[data-server="{server}"]'


@pytest.mark.requirement("page.live")
def test_a_server_that_is_killed_turns_its_row(page: Page, running: Running) -> None:
    page.goto("/")
    expect(page.locator(row(page, "echo"))).to_contain_text("ready")
    pid = running.http.get("/health").json()["servers"]["echo"]["pid"]
    os.kill(pid, signal.SIGKILL)
    expect(page.locator(row(page, "echo"))).not_to_contain_text("ready", timeout=SOON_MS)
    expect(page.locator(row(page, "echo"))).to_contain_text("ready", timeout=BOUND_MS)


@pytest.mark.requirement("page.live")
def test_a_script_and_its_calls_appear_while_it_runs(page: Page, running: Running) -> None:
    page.goto("/ui/executions")
    before = page.locator("tr[data-execution]").count()
    code = "api.server('echo').add(a=1, b=2)\napi.server('echo').sleep(secs=10)"
    script = threading.Thread(target=running.run, args=(code,))
    script.start()
    try:
        expect(page.locator("tr[data-execution]")).to_have_count(before + 1)
        first = page.locator("tr[data-execution]").first
        expect(first).to_contain_text("running")
        first.get_by_role("link").click()
        expect(page.get_by_text("echo.sleep")).to_be_visible()
        expect(page.locator("table.timeline tbody tr").first).to_contain_text("ok")
        expect(page.locator("table.timeline tbody tr").last).to_contain_text("running")
        expect(page.locator("table.timeline")).not_to_contain_text("running", timeout=BOUND_MS)
    finally:
        script.join()


@pytest.mark.requirement("page.servers")
def test_a_server_is_turned_off_and_on_by_keyboard_alone(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.id")
        if focused == "off-markup":
            break
    assert focused == "off-markup"
    page.keyboard.press("Enter")
    expect(page.locator(row(page, "markup"))).to_contain_text("disabled")
    page.locator("#on-markup").press("Enter")
    expect(page.locator(row(page, "markup"))).to_contain_text("ready")


@pytest.mark.requirement("page.approvals")
def test_an_approval_is_given_and_the_script_goes_on(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with gateway(tmp_path_factory.mktemp("asking"), ASKING) as asking:
        context = browser.new_context(base_url=str(asking.http.base_url))
        page = context.new_page()
        page.goto("/")
        code = "api.server('echo').add(a=1, b=2)"
        needed = asking.run(code)
        assert "approval" in str(needed["error"])
        waiting = page.locator("[data-approval]")
        expect(waiting).to_have_count(1)
        expect(waiting).to_contain_text('"a"')
        waiting.get_by_role("button", name="Approve once").click()
        expect(waiting).to_have_count(0)
        assert asking.run(code)["result"] == {"sum": 3}
        context.close()


@pytest.mark.requirement("page.explained")
def test_the_playground_explains(page: Page) -> None:
    page.goto("/ui/search")
    page.get_by_label("Query").fill("add numbers")
    page.get_by_role("button", name="Search").click()
    first = page.locator(".candidates > li").first
    expect(first).to_contain_text("echo.add")
    shares = [float(text) for text in re.findall(r"\+(\d\.\d\d)", first.inner_text())]
    assert sum(shares) == pytest.approx(float(first.locator(".n").inner_text()), abs=0.02)
    expect(page.locator("pre.reply")).to_contain_text(".add(a, b)")
    page.get_by_label("Query").fill("zzz qqq")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Query")).to_have_value("zzz qqq")
    expect(page.locator(".empty")).to_contain_text("No tool matches")


@pytest.mark.requirement("page.hostile")
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/ui/tools",
        "/ui/tools/markup/image",
        "/ui/search?q=image",
        "/ui/tools/markup/long",
        "/ui/tools/markup/backwards",
    ],
)
def test_texts_of_servers_do_nothing(page: Page, path: str) -> None:
    page.goto(path)
    page.wait_for_load_state("networkidle") if "/ui/" in path else page.wait_for_timeout(0)
    assert "owned" not in page.title()
    assert page.locator("main img, main script").count() == 0
    assert "49" not in page.locator("main").inner_text() or path != "/ui/tools/markup/image"


@pytest.mark.requirement("page.access")
def test_a_token_is_asked_for_once(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with gateway(tmp_path_factory.mktemp("signed"), GUARDED) as guarded:
        context = browser.new_context(base_url=str(guarded.http.base_url))
        page = context.new_page()
        page.goto("/")
        page.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("not valid")
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator(row(page, "secret"))).to_contain_text("ready")
        assert page.evaluate("document.cookie") == ""
        page.locator("#restart-secret").click()
        expect(page.locator(row(page, "secret"))).to_contain_text("ready")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Token")).to_be_visible()
        context.close()


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed (npm)")
@pytest.mark.requirement("page.accessible")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_axe_finds_nothing_serious(
    browser: Browser, running: Running, width: int, scheme: str
) -> None:
    running.run("api.server('echo').add(a=1, b=2)")
    running.run("api.server('echo').fail()")
    latest = re.search(r'data-execution="(\w+)"', running.http.get("/ui/executions").text)
    assert latest
    context = browser.new_context(
        base_url=str(running.http.base_url),
        viewport={"width": width, "height": 800},
        color_scheme="dark" if scheme == "dark" else "light",
        bypass_csp=True,  # axe is put into the page
    )
    page = context.new_page()
    for path in (*PARTS, f"/ui/executions/{latest[1]}"):
        page.goto(path)
        page.add_script_tag(path=AXE)
        found = page.evaluate("axe.run()")
        serious = [
            (one["id"], one["nodes"][0]["html"])
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert not serious, (path, json.dumps(serious, indent=1))
        beyond = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert beyond <= 0, f"{path} is wider than {width} px"
    context.close()


@pytest.mark.requirement("page.same_numbers")
def test_the_plots_have_the_figures_of_the_hour(page: Page, running: Running) -> None:
    running.run("[api.server('echo').add(a=1, b=n) for n in range(5)]")
    with page.expect_response("**/ui/history.json") as answered:
        page.goto("/")
    figures = answered.value.json()
    metrics = httpx.get(f"{running.http.base_url}/metrics", trust_env=False).text
    counts = re.findall(r"^mcproxy_call_seconds_count\{.*\} ([\d.]+)$", metrics, re.M)
    assert sum(figures["calls"]) == sum(map(float, counts))
    expect(page.locator(".plot canvas")).to_have_count(3)
