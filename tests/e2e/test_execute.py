"""``search`` and ``execute`` as a model uses them: what it finds, runs, gets wrong and reads."""

from collections.abc import Iterator
from typing import Any

import pytest

from mcproxy.types import JsonObject
from tests.e2e.gateways import TIME, Running, gateway, usual

TOKYO = '{"source_timezone": "Asia/Tokyo", "time": "16:30", "target_timezone": "Asia/Kolkata"}'


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway in front of a server of others, too."""
    with gateway(tmp_path_factory.mktemp("served"), usual(time=TIME)) as running:
        yield running


@pytest.mark.requirement("execute.inline")
@pytest.mark.parametrize(
    "code",
    [
        f'async def run():\n    return await api.call_tool("time", "convert_time", {TOKYO})',
        f'result = api.call_tool("time", "convert_time", {TOKYO})',
        f'await api.server("time").convert_time({TOKYO})',
        'api.server("time").convertTime(source_timezone="Asia/Tokyo", time="16:30", '
        'target_timezone="Asia/Kolkata")  # the last expression counts',
    ],
)
def test_a_call_comes_back_inline(served: Running, code: str) -> None:
    done: Any = served.run(code)
    assert done["status"] == "success"
    assert done["result"]["target"]["datetime"].endswith("13:00:00+05:30")
    (call,) = done["calls"]
    assert (call["server"], call["tool"], call["outcome"]) == ("time", "convert_time", "ok")
    assert call["ms"] > 0


@pytest.mark.requirement("execute.errors")
@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ('api.server("tim").convert_time()', "CheckError", "Did you mean 'time'?"),
        ('api.server("vault").echo()', "CheckError", "There is no server 'vault'"),
        ('api.server("time").convert()', "CheckError", 'api.server("time").convert_time('),
        ('api.server("time").convert_time(time=5)', "CheckError", "missing 'source_timezone'"),
        # Written so that only the run can tell:
        ('api.server(str("tim")).convert_time()', "ToolError", "Did you mean 'time'?"),
        ('api.server(str("vault")).echo()', "ToolError", "There is no server 'vault'"),
        ('api.server(str("time")).convert()', "ToolError", 'api.server("time").convert_time('),
        ('api.server("time").convert("16:30")', "ToolError", 'api.server("time").convert_time('),
        (
            'api.server(str("time")).convert_time(time=5)',
            "ToolError",
            '"source_timezone" is a required',
        ),
        (
            'api.server(str("time")).get_current_time(timezone="UTC", zone=5)',
            "ToolError",
            "no parameter 'zone', did you mean 'timezone'?",
        ),
        ('api.server("absent").anything()', "ToolError", "/no/such/command"),
        ('api.server("echo").fail(message="out of ink")', "ToolError", "out of ink"),
        ('api.server("echo").rpc_error()', "ToolError", "JSON-RPC error"),
        ("1 / 0", "ZeroDivisionError", "division by zero"),
        ("def f(:", "SyntaxError", "invalid syntax"),
        ("import subprocess", "CheckError", "subprocess"),
        ("import os\nos._exit(3)", "SandboxError", ""),
        ("raise SystemExit(2)", "SystemExit", "2"),
    ],
)
def test_faults_of_scripts_are_told_and_the_next_one_runs(
    served: Running, code: str, kind: str, words: str
) -> None:
    failed: Any = served.run(code)
    assert failed["status"] == "error"
    assert failed["error"]["type"] == kind
    assert words in failed["error"]["message"]
    assert "/mcproxy/" not in str(failed)
    assert "mcproxy." not in str(failed["traceback"])
    assert served.run("40 + 2")["result"] == 42


@pytest.mark.requirement("execute.limits")
def test_a_script_that_never_ends_is_ended(served: Running) -> None:
    ended: Any = served.run("while True:\n    pass", timeout_secs=1)
    assert ended["error"]["type"] == "Timeout"
    assert 1000 <= ended["execution_time_ms"] < 5000
    assert served.run("40 + 2")["result"] == 42


@pytest.mark.requirement("execute.stdout")
def test_ten_megabytes_of_output_are_cut_with_a_mark(served: Running) -> None:
    done: Any = served.run('print("x" * 10_000_000)\n"fine"')
    assert done["result"] == "fine"
    assert "262" in done["stdout"]
    assert "cut" in done["stdout"][-100:]


@pytest.mark.requirement("execute.preview")
def test_a_large_result_comes_as_a_preview(served: Running) -> None:
    done: Any = served.run('[{"n": n, "text": "x" * 50} for n in range(5000)]')
    assert done["truncated"]["bytes"] > 65_536
    assert done["result"][0] == {"n": 0, "text": "x" * 50}
    assert "5000 items" in done["result"][-1]
    too_large: Any = served.run('"x" * 16_777_216')
    assert too_large["error"]["type"] == "ResultLimit"


@pytest.mark.requirement("execute.blocks")
def test_an_image_comes_out_as_a_content_block(served: Running) -> None:
    result: Any = served.call(
        "tools/call",
        {
            "name": "execute",
            "arguments": {"code": '{"shot": api.server("echo").image(), "n": 1}'},
        },
    )
    text, image = result["content"]
    assert image["type"] == "image"
    assert image["data"] not in text["text"]
    assert result["structuredContent"]["result"]["n"] == 1


@pytest.mark.requirement("execute.api")
def test_a_script_looks_around(served: Running) -> None:
    code = """
seen = api.manifest()
found = await api.search("convert a time", max_depth=2)
tool = api.schema("time", "convert_time")
result = [sorted(seen["servers"]), found["results"][0]["server"], tool["inputSchema"]["required"]]
"""
    done: Any = served.run(code)
    assert done["result"] == [
        ["absent", "echo", "time"],
        "time",
        ["source_timezone", "time", "target_timezone"],
    ]


@pytest.mark.requirement("search.found")
def test_search_finds_and_says_how_to_call(served: Running) -> None:
    found: Any = served.tool("search", query="convert time zone")
    best = found["results"][0]
    assert best["server"] == "time"
    assert best["matched_tools"][0]["name"] == "convert_time"
    assert "source_timezone" in best["matched_tools"][0]["call"]
    whole: JsonObject = served.tool("search", query="time.convert_time", max_depth=3)
    assert "inputSchema" in str(whole)
    assert "vault" not in str(served.tool("search", query="", max_depth=2))


@pytest.mark.requirement("preflight.nothing_sent")
def test_a_script_that_is_refused_has_sent_nothing(served: Running) -> None:
    failed: Any = served.run(
        'api.server("echo").echo(message="first")\napi.server("echo").ehco(message="second")\n'
        'import socket\napi.server("time").get_current_time(zone="UTC")'
    )
    assert failed["error"]["type"] == "CheckError"
    told = failed["error"]["message"]
    assert [line[:6] for line in told.splitlines()] == ["Nothin", "line 2", "line 3", "line 4"]
    assert "calls" not in failed


@pytest.mark.requirement("preflight.check_only")
def test_check_only_runs_nothing(served: Running) -> None:
    read: Any = served.run('print(api.server("echo").echo(message="x"))', check_only=True)
    assert (read["status"], read["result"]) == ("success", None)
    assert "stdout" not in read
    assert "calls" not in read
    assert read["notes"] == ["check_only: the script was read and not run"]
    refused: Any = served.run('api.server("ehco").echo()', check_only="true")
    assert refused["error"]["type"] == "CheckError"
    assert "check_only must be true or false" in str(served.run("1", check_only=3)["fault"])


@pytest.mark.requirement("preflight.bounded")
@pytest.mark.parametrize(
    "code",
    [
        "(" * 50_000,
        "[" * 5000 + "]" * 5000,
        "-" * 50_000 + "1",
        "x = " + "+".join(["api"] * 12_000),
        "api" + ".x" * 25_000 + "()",
        "api" + "()" * 25_000,
        "if api: pass\n" + "elif api: pass\n" * 3000,
        "\n".join(f"n{i} = n{i + 1}" for i in range(3000)) + "\nn0.api()",
        "[api.x.y() " + " ".join(f"for a{i} in [1, 2]" for i in range(2400)) + "]",
        "def f():\n" + "    api.echo.pid()\n" * 1500 + "f()\n" * 3000 + "f(",
        '"""' * 17_000,
        "{a: " * 10_000,
        "\\n" * 25_000,
    ],
    ids=range(13),
)
def test_no_script_stops_the_gateway_by_being_read(served: Running, code: str) -> None:
    read: Any = served.run(code[: 50 << 10], check_only=True)
    assert read["status"] in ("success", "error")
    assert served.run("40 + 2")["result"] == 42
