"""What a script leaves for the next one: whole results behind references, and the stash."""

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import Running, echo, gateway
from tests.e2e.test_affinity import run
from tests.e2e.test_streamable import url
from tests.tokens import count

BUDGET = 16 << 10
MAX_TOKENS = 1500
TTL_SECS = 3600  # as configured by default
ROWS = '[{"id": n, "title": f"Issue {n}", "body": "lorem ipsum " * 10} for n in range(32_000)]'
DIGEST = "import hashlib\nhashlib.sha256(json.dumps({}).encode()).hexdigest()"
CONFIG: JsonObject = {
    "servers": {"echo": echo()},
    "namespaces": {"public": ["echo"], "other": ["echo"]},
    "auth": {"tokens": [{"name": "bob", "token": "bob's", "namespaces": ["public", "other"]}]},
    "results": {"keep_mb": 8},
}
legacy_warnings = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("references")


@pytest.fixture(scope="module")
def keeping(directory: Path) -> Iterator[Running]:
    with gateway(directory, CONFIG) as running:
        yield running


def left(running: Running, code: str, **arguments: Json) -> tuple[str, str]:
    """The reference of a large result, and the handle of its session."""
    done: Any = running.run(code, **arguments)
    assert done["status"] == "success", done
    return done["truncated"]["ref"], done["session"]


def as_bob(running: Running, **arguments: Json) -> Any:
    """What another caller is answered."""
    params: JsonObject = {"name": "execute", "arguments": {**arguments}}
    request: JsonObject = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return running.post(request, Authorization="Bearer bob's").json()["result"]


def passed(directory: Path, secs: float) -> None:
    """Let everything that is kept be unused for so long."""
    with closing(sqlite3.connect(directory / "state/mcproxy/store.db", timeout=10)) as db, db:
        db.execute("UPDATE items SET used = used - ?", (secs,))


@pytest.mark.requirement("results.references")
def test_five_megabytes_are_few_tokens_and_whole_in_the_next_script(keeping: Running) -> None:
    result: Any = keeping.call("tools/call", {"name": "execute", "arguments": {"code": ROWS}})
    text = result["content"][0]["text"]
    done = json.loads(text)
    assert count(text) <= MAX_TOKENS
    assert done["truncated"]["bytes"] > 5_000_000
    assert done["result"][0]["title"] == "Issue 0"
    assert done["result"][-1] == "… (32000 items)"
    rows = [{"id": n, "title": f"Issue {n}", "body": "lorem ipsum " * 10} for n in range(32_000)]
    code = DIGEST.format(f'api.result("{done["truncated"]["ref"]}")')
    for script in (code, code.replace("api.result", "await api.result")):
        again: Any = keeping.run(script, session=done["session"])
        assert again["result"] == hashlib.sha256(json.dumps(rows).encode()).hexdigest()


@pytest.mark.requirement("results.references")
def test_long_output_is_head_and_tail_and_whole_in_the_next_script(keeping: Running) -> None:
    done: Any = keeping.run('for n in range(20_000): print("line", n)', session="new")
    assert done["stdout"].startswith("line 0\nline 1\n")
    assert done["stdout"].endswith("line 19998\nline 19999\n")
    assert 'api.result("r1")' in done["stdout"]
    assert len(done["stdout"]) < BUDGET / 2
    code = 'api.result("r1").splitlines()[10_000]'
    assert keeping.run(code, session=done["session"])["result"] == "line 10000"


@pytest.mark.requirement("results.references")
def test_references_are_numbered_and_values_of_any_kind(keeping: Running) -> None:
    ref, session = left(keeping, '"ä" * 20_000')
    assert ref == "r1"
    done: Any = keeping.run('print("x" * 50_000)\n{"k" * 20_000: None}', session=session)
    assert done["truncated"]["ref"] == "r2"
    assert 'api.result("r3")' in done["stdout"]
    code = '[len(api.result("r1")), [*api.result("r2").values()], len(api.result("r3"))]'
    assert keeping.run(code, session=session)["result"] == [20_000, [None], 50_001]


NOTHING = "was never kept, or not used for too long"


@pytest.mark.requirement("results.whose")
def test_what_is_kept_is_unknown_to_all_others(keeping: Running) -> None:
    ref, session = left(keeping, ROWS)
    code = f'api.stash["mine"] = 1\nlen(api.result("{ref}"))'
    assert keeping.run(code, session=session)["result"] == 32_000
    elsewhere: Any = keeping.run("1", session="no such handle")["fault"]
    assert keeping.run(code, session=session, namespace="other") == {"fault": elsewhere}
    assert as_bob(keeping, code=code, session=session)["content"][0]["text"] == elsewhere
    asked = 'try:\n    api.result("{}")\nexcept ToolError as e:\n    result = [e.code, e.message]'
    answers = [
        keeping.run(asked.format(name), **where)["result"]
        for name in (ref, "r77")
        for where in ({}, {"session": "new"})
    ]
    for name in (ref, "r77"):
        code = asked.format(name) + "\nresult.append(list(api.stash))"
        bobs = as_bob(keeping, code=code, session="new")["structuredContent"]["result"]
        assert bobs.pop() == []
        answers.append(bobs)
    words = {str(answer).replace(ref, "REF").replace("r77", "REF") for answer in answers}
    assert len(words) == 1
    assert NOTHING in words.pop()


@pytest.mark.requirement("results.stash")
def test_the_stash_is_a_dict_that_lasts(keeping: Running) -> None:
    code = """
api.stash["rows"] = api.server("echo").add(a=1, b=2)
api.stash["both"] = [api.server("echo").add(a=n, b=0) for n in range(2)]
api.stash["none"] = None
api.stash["gone"] = {1, 2}
del api.stash["gone"]
"""
    done: Any = keeping.run(code)
    assert any("1 set -> list" in note for note in done["notes"])
    code = """
seen = [list(api.stash), len(api.stash), "rows" in api.stash, "gone" in api.stash]
seen += [api.stash["rows"], api.stash["both"], api.stash["none"]]
seen += [api.stash.get("gone", 7), api.stash.pop("none"), api.stash.pop("none", 8)]
try:
    api.stash["gone"]
except KeyError as error:
    seen.append(str(error))
result = seen
"""
    again: Any = keeping.run(code, session=done["session"])
    *seen, why = again["result"]
    both = [{"sum": 0}, {"sum": 1}]
    assert seen == [["both", "none", "rows"], 3, True, False, {"sum": 3}, both, None, 7, None, 8]
    assert "api.stash has no 'gone'" in str(why)
    assert "It has: both, rows." in str(why)


@pytest.mark.requirement("results.stash")
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ('api.stash["x"] = "x" * 16_777_216', "the limit is 16777216"),
        ("api.stash[1] = 1", "a name in api.stash is a text"),
        ('api.stash["n" * 201] = 1', "1 to 200 characters"),
        ('api.stash["gone"]', NOTHING),
        ('del api.stash["gone"]', NOTHING),
    ],
)
def test_what_the_stash_refuses(keeping: Running, code: str, words: str) -> None:
    done: Any = keeping.run(code)
    assert words in done["error"]["message"]
    assert "session" not in done, "nothing was kept"


@pytest.mark.requirement("results.bounds")
def test_the_oldest_goes_first(keeping: Running) -> None:
    ref, session = left(keeping, '"x" * 3_000_000')
    code = 'for n in range(3): api.stash[f"s{n}"] = "x" * 2_000_000\n'
    code += f'api.result("{ref}")\napi.stash["s3"] = "x" * 2_000_000\nlist(api.stash)'
    done: Any = keeping.run(code, session=session, timeout_secs=30)
    assert done["status"] == "error", "the result was older than what came"
    again: Any = keeping.run("list(api.stash)", session=session)
    assert again["result"] == ["s0", "s1", "s2"]
    code = 'api.stash["s0"]\napi.stash["s3"] = "x" * 4_000_000\nlist(api.stash)'
    assert keeping.run(code, session=session)["result"] == ["s0", "s2", "s3"]
    assert left(keeping, '"x" * 100_000', session=session)[0] == "r2", "no reference comes again"


@pytest.mark.requirement("results.bounds")
def test_what_is_not_used_ends(keeping: Running, directory: Path) -> None:
    ref, session = left(keeping, ROWS)
    passed(directory, TTL_SECS / 2)
    code = f'len(api.result("{ref}"))'
    assert keeping.run(code, session=session)["result"] == 32_000
    passed(directory, TTL_SECS - 60)
    assert keeping.run(code, session=session)["result"] == 32_000, "it was used meanwhile"
    passed(directory, TTL_SECS + 1)
    assert "unknown session" in str(keeping.run(code, session=session)["fault"])


@pytest.mark.requirement("results.survives")
def test_it_survives_the_gateway(tmp_path: Path) -> None:
    with gateway(tmp_path, CONFIG) as before:
        ref, session = left(before, ROWS + "if not api.stash.update(a=1) else 0")
    with gateway(tmp_path, CONFIG) as after:
        code = f'[len(api.result("{ref}")), api.stash["a"]]'
        assert after.run(code, session=session)["result"] == [32_000, 1]
        assert left(after, ROWS, session=session)[0] == "r2"


@legacy_warnings
@pytest.mark.requirement("results.resource")
async def test_a_client_reads_a_whole_result_as_a_resource(keeping: Running) -> None:
    address = url(keeping, "/mcp")
    async with Client(address, mode="legacy") as ada, Client(address, mode="legacy") as bob:
        listed = await ada.list_resource_templates()
        assert "mcproxy://results/{ref}{?session}" in {
            template.uri_template for template in listed.resource_templates
        }
        await run(ada, ROWS)
        [contents] = (await ada.read_resource("mcproxy://results/r1")).contents
        assert len(json.loads(getattr(contents, "text", ""))) == 32_000
        assert contents.mime_type == "application/json"
        for uri in ("mcproxy://results/r1", "mcproxy://results/r1?session=nobody"):
            with pytest.raises(MCPError, match="there is no resource"):
                await bob.read_resource(uri)
        assert await run(ada, 'len(api.result("r1"))') == 32_000


@pytest.mark.requirement("results.resource")
def test_a_request_without_session_names_its_handle(keeping: Running) -> None:
    ref, session = left(keeping, ROWS)
    uri = f"mcproxy://results/{ref}"
    refused: Any = keeping.call("resources/read", {"uri": uri})
    assert "there is no resource" in refused["message"]
    found: Any = keeping.call("resources/read", {"uri": f"{uri}?session={session}"})
    assert len(json.loads(found["contents"][0]["text"])) == 32_000


NASTY = {
    "many calls": "await asyncio.gather(*[api.server('echo').add(a=n, b=n) for n in range(150)])",
    "many failures": (
        "await asyncio.gather(*[api.server('echo').fail(message='x' * 500) for _ in range(100)],"
        " return_exceptions=True)"
    ),
    "many names": "for n in range(199):\n try: api.call_tool('echo', f'tool {n}' + 'é' * 150)\n"
    " except ToolError: pass",
    "all at once": "print('\\x01' * 100_000)\nresult = ['\\\\\"' * 9999] * 99",
    "an error and output": "print('ü' * 100_000)\nraise ValueError('€' * 100_000)",
    "a deep trace": "def f(n):\n    return f(n - 1) if n else 1 / 0\nf(300)",
    "notes": "[object() for _ in range(3)], {n: 1 for n in range(5000)}",
    "a middling result": "print('x' * 9_000)\n'y' * 12_000",
    "both small": "print('x' * 4_000)\n'y' * 9_000",
    "a long line": "x = '" + "z" * 40_000 + "'\nx.nothing",
}


@pytest.mark.requirement("results.budget")
@pytest.mark.parametrize("name", NASTY)
def test_a_reply_keeps_its_budget(keeping: Running, name: str) -> None:
    result: Any = keeping.call(
        "tools/call", {"name": "execute", "arguments": {"code": NASTY[name]}}
    )
    text = result["content"][0]["text"]
    assert len(text.encode()) <= BUDGET
    assert len(json.dumps(result["structuredContent"], ensure_ascii=False)) <= 1.1 * BUDGET
    assert json.loads(text)["result"] == result["structuredContent"]["result"]


@pytest.mark.requirement("results.budget")
def test_what_fits_comes_whole(keeping: Running) -> None:
    done: Any = keeping.run(NASTY["both small"])
    assert (len(done["result"]), len(done["stdout"])) == (9_000, 4_001)
    assert "truncated" not in done
    assert "session" not in done


async def test_large_results_side_by_side(keeping: Running) -> None:
    """Each kept under a reference of its own, whatever comes first."""
    session: Any = keeping.run("1", session="new")["session"]
    code = "import time\n'{}' * 50_000"

    def one(letter: str) -> tuple[str, str]:
        return letter, left(keeping, code.format(letter), session=session)[0]

    pairs = await asyncio.gather(*[asyncio.to_thread(one, letter) for letter in "abcd"])
    assert sorted(ref for _, ref in pairs) == ["r1", "r2", "r3", "r4"]
    script = f"[api.result(ref)[0] for _, ref in {pairs}]"
    assert keeping.run(script, session=session)["result"] == [letter for letter, _ in pairs]
