"""The documentation names what there is: links, commands, tables, menus and pictures are right."""

import ast
import contextlib
import io
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import mcproxy
from mcproxy import call_errors, cli, mcp
from mcproxy.call_errors import CallError
from mcproxy.config import jsonc
from mcproxy.config.load import load_document
from mcproxy.config.migrate import migrate
from mcproxy.config.model import Config
from mcproxy.errors import RpcError
from mcproxy.manifest import bounds, rank, results
from mcproxy.queues import WAIT_SECS
from mcproxy.sandbox import pool, worker_slot
from mcproxy.sandbox.jail.confine import lockdown
from mcproxy.sandbox.jail.script.positions import positions
from mcproxy.types import Capacity, Json, Limits, ScriptError, ToolRef
from tests.pages import NOT_RUN, PAGES, ROOT, TOLD, Block, blocks, rows_of
from tests.recording import PICTURE, picture, recorded

COMMAND = Path(sys.executable).with_name("mcproxy")
SOURCE = ROOT / "src/mcproxy"
README = ROOT / "README.md"
TROUBLES = ROOT / "docs/troubleshooting.md"
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)", re.MULTILINE)
_FENCED = re.compile(r"^(`{3,}).*?^\1$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_TREE = re.compile(r"^## The tree\n(.*?)^## ", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"`([a-z_/]+(?:/|\.py))`")
_COMMAND = re.compile(r"`((?:python main\.py|mcproxy) [^`]+)`")
_MENU = re.compile(r": (\S+\.md)$", re.MULTILINE)
_VARIABLE = re.compile(r"\$\{(\w+)\}")


@pytest.mark.requirement("docs.links")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    prose = _CODE.sub("", _FENCED.sub("", page.read_text(encoding="utf-8")))
    for link in _LINK.findall(prose):
        if "://" not in link:
            name, _, heading = link.partition("#")
            target = page.parent / name if name else page
            assert target.exists(), link
            assert not heading or heading in anchors(target), link


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings get: their words in lower case, with hyphens between."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(text))
    return {heading.strip().replace(" ", "-") for heading in kept}


@pytest.mark.requirement("docs.tree")
def test_the_tree_is_the_one_that_there_is() -> None:
    [tree] = _TREE.findall((ROOT / "docs/architecture.md").read_text(encoding="utf-8"))
    cells = " ".join(line.split(" | ")[0] for line in tree.splitlines() if line.startswith("| `"))
    folders = {f"{path.parent.relative_to(SOURCE)}/" for path in SOURCE.rglob("*/__init__.py")}
    files = {path.name for path in SOURCE.glob("*.py") if path.name != "__init__.py"}
    assert set(_NAMED.findall(cells)) == folders | files


_LIMITS = Limits()
_BOUNDS = {
    "search": (
        f"at most {bounds.READING_BYTES:,} bytes",
        f"{bounds.READING_BYTES - bounds.BYTES_OF_NAMES:,} bytes are lines",
        f"and {bounds.BYTES_OF_NAMES:,} are names alone",
        f"in at most {results.MAX_TYPE_CHARS} characters",
        f"a request of up to {('no', 'one', 'two', 'three')[rank.FEW_WORDS]} words",
    ),
    "sandbox": (
        f"{_LIMITS.scratch_mb} MiB tmpfs | {_LIMITS.scratch_mb} MiB folder on disk",
        f"| files open | {_LIMITS.open_files};",
        f"`max_calls` ({_LIMITS.max_calls} by default",
        f"the size of the tmpfs, {lockdown._SCRATCH_ENTRIES:,} files",
        f"{worker_slot.MOST_ENTRIES:,} files, by looking every "
        f"{worker_slot.LOOK_EVERY_SECS * 1000:g} ms",
        f"{lockdown._THREADS_IN_NAMESPACE} for all workers of a zygote",
        f"so the bound is loose: {lockdown._TASKS_OF_USER:,} |",
        f"`memory_mb` + {lockdown._ADDRESS_SPACE_SPARE >> 20} MiB",
        f"{pool.MOST_RUNNING} over all namespaces; {pool.MOST_WAITING} more wait, each for at most "
        f"{WAIT_SECS:g} s",
    ),
}
"""What pages say of bounds, with the figures of the program."""


@pytest.mark.requirement("docs.figures")
@pytest.mark.parametrize("page", _BOUNDS)
def test_bounds_are_told_as_they_are(page: str) -> None:
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    assert [said for said in _BOUNDS[page] if said not in text] == []


@pytest.mark.requirement("docs.links")
def test_each_page_is_in_the_menu_once() -> None:
    menu = _MENU.findall((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert len(menu) == len(set(menu))
    assert set(menu) >= {page.name for page in ROOT.glob("docs/*.md")}


def told(language: str) -> list[Block]:
    return [each for page in TOLD for each in blocks(page) if each.language == language]


def named(block: object) -> str | None:
    return f"{block.page}-{block.place}" if isinstance(block, Block) else None


@pytest.mark.requirement("docs.commands")
@pytest.mark.parametrize("block", told("bash"), ids=named)
def test_commands_are_run_or_say_why_not(block: Block) -> None:
    """Those of curl are run by tests/e2e/test_documentation.py."""
    if not block.is_run or block.text.startswith("curl "):
        return
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
        elif words[:1] in (["mcproxy"], ["python"]):
            assert_understood(line)
        elif words:
            assert "sha256sum" in block.text, f"{line}: run it here, or add {NOT_RUN}why.*"
            done = subprocess.run(
                ["/bin/bash", "-ec", block.text],
                capture_output=True,
                text=True,
                check=True,
                timeout=20,
            )
            assert re.fullmatch(r"[0-9a-f]{64}\n", done.stdout)
            return


@pytest.mark.requirement("docs.commands")
@pytest.mark.parametrize("page", TOLD, ids=lambda page: page.name)
def test_commands_named_in_the_text_exist(page: Path) -> None:
    for command in _COMMAND.findall(page.read_text(encoding="utf-8")):
        assert not command.startswith("python"), f"{command}: the one form is mcproxy …"
        assert_understood(command)


def assert_understood(command: str) -> None:
    """The parser takes the command; ``--help`` keeps it from being done."""
    words = shlex.split(command, comments=True)[1:]
    words = [word for word in words if word not in ("|", ">")]
    with contextlib.redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as ended:
        cli.parser().parse_args([words[0], "--help"])
    assert ended.value.code == 0, command
    options = [word for word in words if word.startswith("--")]
    helped = io.StringIO()
    with contextlib.redirect_stdout(helped), contextlib.suppress(SystemExit):
        cli.parser().parse_args([words[0], "--help"])
    assert all(option in helped.getvalue() for option in options), command


@pytest.mark.requirement("docs.commands")
def test_every_block_is_of_a_kind_that_is_looked_at() -> None:
    """``text`` and blocks without a language are output and drawings."""
    kinds = {"", "bash", "json", "jsonc", "markdown", "python", "text", "toml"}
    odd = [each for page in TOLD for each in blocks(page) if each.language not in kinds]
    assert not [each for each in odd if each.is_run], f"add {NOT_RUN}why.*"
    for block in told("toml"):
        assert_connects(tomllib.loads(block.text)["mcp_servers"]["mcproxy"])
    [seams] = [each for each in told("python") if each.page == "architecture.md"]
    seams_of = "".join((SOURCE / name).read_text() for name in ("types.py", "exchange.py"))
    written = seams_of.replace(": TypeAlias", "")
    assert all(line in written for line in seams.text.splitlines())


CONFIGURATIONS = [
    block
    for language in ("json", "jsonc")
    for block in told(language)
    if re.search(r'"(servers|namespaces|manifests|refresh_hooks|mcpServers)"\s*:', block.text)
]


@pytest.mark.requirement("readme.configuration")
@pytest.mark.parametrize("block", CONFIGURATIONS, ids=named)
def test_configurations_shown_are_right(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in _VARIABLE.findall(block.text):
        monkeypatch.setenv(variable, "x" * 40)
    shown = block.text if block.text.lstrip().startswith("{") else f"{{{block.text}}}"
    parsed = jsonc.parse(shown)
    assert not parsed.problems
    document = parsed.value
    assert isinstance(document, dict)
    clients = document.get("mcpServers", document.get("servers"))
    if isinstance(clients, dict) and "mcproxy" in clients:
        assert_connects(clients["mcproxy"])
    elif "refresh_hooks" in document:
        Config.model_validate({"servers": {"x": {"command": "x", **document}}})
    elif isinstance(document.get("servers"), list) or document.get("servers"):
        assert load_document(document).config.servers
    else:
        Config.model_validate(document)


def assert_connects(client: Json) -> None:
    """What a client is to be told leads to this program."""
    assert isinstance(client, dict)
    arguments, url = client.get("args"), client.get("url")
    if isinstance(arguments, list):
        assert str(arguments[0]).endswith("/main.py")
        cli.parser().parse_args([str(word) for word in arguments[1:]])
    else:
        assert re.fullmatch(r"http://127\.0\.0\.1:12010/mcp(/\w+)?", str(url))


@pytest.mark.requirement("readme.configuration")
def test_the_migration_shown_is_the_one_that_is_made() -> None:
    shown = [block for block in blocks(ROOT / "docs/migrating.md") if block.language == "json"]
    before, after = (json.loads(block.text) for block in shown)
    assert migrate(before).document == after


@pytest.mark.requirement("docs.tables")
def test_the_options_are_those_of_the_parser() -> None:
    rows = rows_of(README, "Options")
    shown = {word for cell, *_ in rows for word in re.findall(r"--[\w-]+", cell)}
    real = {name for action in cli.parser()._actions for name in action.option_strings}
    assert shown == {name for name in real if name.startswith("--")} - {"--help", "--version"}


REF = ToolRef("calc", "mean")
FULL = Capacity(8, 16, "Namespace 'public'", "executions and direct calls")
CALLS: dict[str, CallError] = {
    error.code: error
    for error in (
        call_errors.UnknownServer(ToolRef("githb", "x"), ["github"], ["github"]),
        call_errors.UnknownTool(ToolRef("calc", "convert"), []),
        call_errors.InvalidArguments(REF, ['"values" is a required property'], "calc.mean(values)"),
        call_errors.Declined(REF),
        call_errors.ApprovalNeeded(REF, "a1b2c3d4e5"),
        call_errors.ToolHeld(REF, "hides from the user"),
        call_errors.RateLimited(REF, "public", 60, 1.0),
        call_errors.Busy(REF, FULL, 1),
        call_errors.CallLimit(REF, 200),
        call_errors.CallTimeout(REF, 120, safe=False),
        call_errors.ServerDown(ToolRef("github", "x"), "exited with status 1"),
        call_errors.UpstreamError(
            ToolRef("github", "list"), RpcError(-32000, "no such repository")
        ),
        call_errors.TooLarge(REF, "value", 2, 1),
        call_errors.UnknownOutcome(REF, succeeded=False),
        call_errors.StateUnavailable("Connection refused"),
        call_errors.NotKept(REF, "api.result", "r9", []),
    )
}


@pytest.mark.requirement("docs.tables")
def test_every_code_of_a_call_is_explained_and_found_by_its_text() -> None:
    rows = {code.strip("`"): says for code, says, _ in rows_of(TROUBLES, "Codes of failed calls")}
    real = {error.code for error in every(CallError)}
    assert set(rows) == real | {"tool_error"}
    assert real == {*CALLS, "call_failed"}
    for code, error in CALLS.items():
        assert rows[code] in str(error)


def every(kind: type[CallError]) -> Iterator[type[CallError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from every(inner)


@pytest.mark.requirement("docs.tables")
def test_every_error_of_a_script_is_explained() -> None:
    rows = [kind.strip("`") for kind, *_ in rows_of(TROUBLES, "Errors of scripts")]
    documented = re.findall(r"``(\w+)``", str(ScriptError.__doc__))
    assert sorted(rows) == sorted({*documented, "ToolError"} - {"type"})


@pytest.mark.requirement("docs.tables")
def test_every_error_of_a_request_is_explained() -> None:
    rows = {int(code.strip("`")) for code, *_ in rows_of(TROUBLES, "Errors of requests")}
    places: tuple[object, ...] = (RpcError, mcp)
    facts = (value for place in places for name, value in vars(place).items() if name.isupper())
    assert rows == {fact for fact in facts if type(fact) is int and fact <= -32000}


@pytest.mark.requirement("docs.tables")
def test_every_exit_status_is_explained() -> None:
    rows = {int(status.strip("`")) for status, *_ in rows_of(TROUBLES, "Exit status")}
    assert rows == {
        int(word) for word in re.findall(r"\b\d+\b", str(cli.__doc__).split("status:")[1])
    }
    assert cli.EX_CONFIG in rows


@pytest.mark.requirement("docs.tables")
def test_what_is_not_found_is_not_found() -> None:
    for snippet, _ in rows_of(ROOT / "docs/call-styles.md", "What is not found"):
        found = positions(ast.parse(snippet.strip("`")))
        calls = [ast.unparse(call) for call in found.promised | found.returned]
        assert not [call for call in calls if call in ("f(1)", "f(2)")], snippet


@pytest.mark.requirement("docs.commands")
@pytest.mark.skipif(not COMMAND.exists(), reason="make setup has not made this environment")
def test_the_command_is_where_the_pages_say() -> None:
    shown = [str(COMMAND), "--version"]
    done = subprocess.run(shown, capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == f"mcproxy {mcproxy.__version__}\n"


@pytest.mark.requirement("docs.commands")
def test_the_recording_is_what_happens() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(recorded()), (
        "take it anew: python -m tests.recording"
    )


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 200
