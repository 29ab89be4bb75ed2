"""What comes out of a script: its result, what it prints, notes, and the limits on them."""

from collections.abc import Awaitable, Callable

import pytest

from mcproxy.types import Json, Limits, Outcome

Run = Callable[..., Awaitable[Outcome]]

RESULTS: dict[str, tuple[str, Json]] = {
    "empty": ("", None),
    "only a comment": ("# nothing", None),
    "last expression": ("x = 1\nx + 1", 2),
    "last expression before comments": ("40 + 2\n\n# that was it\n", 42),
    "last expression after a semicolon": ("x = 1; x + 1", 2),
    "what was assigned last": ("x = 1\nfor y in (3, 4):\n    z = y\nx = [2]", [2]),
    "nothing assigned last after output": ("x = 2\nprint(x)", None),
    "a return": ("x = 1\nif x:\n    return x\nx + 1", 1),
    "a return that is not reached": ("x: int = 1\nif x > 1:\n    return x\nx + 1", 2),
    "a return after await": ("await asyncio.sleep(0)\nreturn [n for n in (1, 2)]", [1, 2]),
    "a return after imports of a module's own": (
        "from __future__ import annotations\nfrom math import *\nx: int = 4\nreturn sqrt(x)",
        2.0,
    ),
    "a return in try": (
        "try:\n    return 1 / 0\nexcept ZeroDivisionError as e:\n    return str(e)",
        "division by zero",
    ),
    "a function sees what the top level changes": (
        "n = 1\ndef f():\n    return n\nn = 2\nreturn f()",
        2,
    ),
    "await in a plain def": (
        "async def g():\n    return 3\ndef f():\n    return await g()\nf()",
        3,
    ),
    "main that is not called": ("async def main():\n    return 3", 3),
    "a string": ("'text'", "text"),
    "a docstring is not lost": ("'''text'''\n", "text"),
    "result": ("result = {'a': 1}\nprint('x')", {"a": 1}),
    "result wins over the last expression": ("result = 1\n2", 1),
    "run": ("def run():\n    return 3", 3),
    "async run": ("async def run():\n    return 3", 3),
    "run wins over result": ("result = 1\ndef run():\n    return 3", 3),
    "run wins over the last expression": ("def run():\n    return 3\n4", 3),
    "run that sets result": ("def run():\n    global result\n    result = 5", 5),
    "run that needs arguments is no entry": ("def run(x):\n    return x\nrun(2)", 2),
    "run with defaults": ("def run(x=3):\n    return x", 3),
    "run called by the script": (
        "n = 0\ndef run():\n    global n\n    n += 1\n    return n\nrun()",
        1,
    ),
    "run awaited by the script": ("async def run():\n    return 3\nawait run()", 3),
    "run under asyncio.run": ("async def run():\n    return 3\nasyncio.run(run())", 3),
    "run bound by the script": ("async def run():\n    return 3\nresult = await run()", 3),
    "main guard": ("def main():\n    return 3\nif __name__ == '__main__':\n    main()", 3),
    "main guard with asyncio.run": (
        (
            "import asyncio\nasync def main():\n    return 3\n"
            "if __name__ == '__main__':\n    asyncio.run(main())"
        ),
        3,
    ),
    "main guard with result": ("if __name__ == '__main__':\n    result = 3", 3),
    "main guard with run": (
        "n = []\ndef run():\n    n.append(1)\n    return n\nif __name__ == '__main__':\n    run()",
        [1],
    ),
    "top-level async for": (
        (
            "async def items():\n    yield 1\n    yield 2\nout = []\n"
            "async for i in items():\n    out.append(i)\nout"
        ),
        [1, 2],
    ),
    "top-level async with": (
        "async with asyncio.timeout(5):\n    x = 3\nx",
        3,
    ),
    "a nested function sees globals": ("x = 1\ndef f():\n    return x\nf()", 1),
    "dataclasses with annotations": (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass A:\n    x: int\nA(1).x",
        1,
    ),
    "exit": ("result = 3\nexit()", 3),
    "sys.exit(0)": ("import sys\nresult = 3\nsys.exit(0)", 3),
    "exit in async": ("result = 3\nasync def run():\n    exit()", 3),
    "exec and eval": ("exec('y = 1')\neval('y + 1')", 2),
    "a class": ("class A:\n    x = 1\nA.x", 1),
    "star unpacking": ("a, *b = 1, 2, 3\nb", [2, 3]),
    "a long chain of operators": ("+".join(["1"] * 500), 500),
    "future annotations": ("from __future__ import annotations\n1", 1),
    "non-ASCII": ("'gr\u00fc\u00df \U0001f600'", "gr\u00fc\u00df \U0001f600"),
    "the loop closed by the script": ("asyncio.get_event_loop().close()\n5", 5),
    "big integers": ("2 ** 70", 2**70),
    "nested awaitables": (
        "async def f(i):\n    return i\n{'a': [f(1), f(2)], 'b': (f(3),)}",
        {"a": [1, 2], "b": [3]},
    ),
}


@pytest.mark.requirement("execute.result")
@pytest.mark.parametrize("name", RESULTS)
async def test_the_result(run: Run, name: str) -> None:
    source, value = RESULTS[name]
    outcome = await run(source)
    assert outcome.error is None
    assert outcome.value == value


CONVERTED: dict[str, tuple[str, Json, str]] = {
    "set": ("{1}", [1], "1 set -> list"),
    "tuple": ("(1, (2,))", [1, [2]], "2 tuple -> list"),
    "date": ("import datetime\ndatetime.date(2024, 1, 2)", "2024-01-02", "1 date -> ISO 8601 text"),
    "datetime": (
        "import datetime as d\nd.datetime(2024, 1, 2, 3, tzinfo=d.UTC)",
        "2024-01-02T03:00:00+00:00",
        "1 datetime -> ISO 8601 text",
    ),
    "decimal": ("from decimal import Decimal\nDecimal('1.50')", "1.50", "1 Decimal -> text"),
    "bytes": ("b'\\xff\\x00'", "/wA=", "1 bytes -> base64"),
    "nan": ("[float('nan'), float('-inf')]", [None, None], "2 NaN or infinity -> null"),
    "keys": (
        "{1: 'a', None: 'b', (1, 2): 'c'}",
        {"1": "a", "null": "b", "(1, 2)": "c"},
        "3 non-string key",
    ),
    "surrogate": ("'a\\ud800'", "a?", "1 text with lone surrogates"),
    "object": ("1 + 2j", "(1+2j)", "1 complex -> its repr"),
    "broken repr": (
        "class A:\n    def __repr__(self):\n        raise ValueError\nA()",
        "<A: its repr raised ValueError>",
        "1 A -> its repr",
    ),
    "dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\nP(1)",
        {"x": 1},
        "1 P -> dict",
    ),
    "cycle": ("x = [1]\nx.append(x)\nx", [1, "<cycle: list>"], "1 cyclic reference"),
    "error value": (
        "await asyncio.gather(api.call_tool('s', 'no'), return_exceptions=True)",
        ["ToolError('the tool said no')"],
        "1 ToolError -> its repr",
    ),
    "huge integer": (
        "1 << 14001",
        hex(1 << 14001)[:600] + "… (3503 characters)",
        "1 very large int",
    ),
}


@pytest.mark.requirement("execute.conversion")
@pytest.mark.parametrize("name", CONVERTED)
async def test_values_that_json_lacks(run: Run, name: str) -> None:
    source, value, note = CONVERTED[name]
    outcome = await run(source)
    assert outcome.error is None
    assert outcome.value == value
    assert any(note in told for told in outcome.notes)


SILENT = {
    "nothing": ("def f(): pass", "nothing to see"),
    "run with arguments": ("def run(x): return x", "run() takes arguments"),
    "run without return": ("def run(): pass", "run() gave None"),
}


@pytest.mark.requirement("execute.silence")
@pytest.mark.parametrize("name", SILENT)
async def test_a_script_that_shows_nothing_is_told_why(run: Run, name: str) -> None:
    source, note = SILENT[name]
    outcome = await run(source)
    assert outcome.error is None
    assert any(note in told for told in outcome.notes)


@pytest.mark.requirement("execute.silence")
@pytest.mark.parametrize("source", ["print(1)", "api.server('s').rows();", "result = 0"])
async def test_a_script_that_shows_something_is_told_nothing(run: Run, source: str) -> None:
    notes = (await run(source)).notes
    assert not any("nothing to see" in note for note in notes)


PRINTED = {
    "print": ("print('a', 1)", "a 1\n"),
    "stderr": ("import sys\nprint('a', file=sys.stderr)", "a\n"),
    "write": ("import sys\nsys.stdout.write('a')", "a"),
    "no newline": ("print('a', end='')", "a"),
    "surrogate": ("print('\\ud800')", "?\n"),
    "before an error": ("print('a')\n1 / 0", "a\n"),
    "in order with batches": (
        "for i in range(300): print(i)",
        "".join(f"{i}\n" for i in range(300)),
    ),
    "redirected": (
        (
            "import contextlib, io\n"
            "with contextlib.redirect_stdout(io.StringIO()):\n    print('a')\n"
            "print('b')"
        ),
        "b\n",
    ),
    "traceback": (
        (
            "import traceback\ntry:\n    1 / 0\nexcept Exception:\n"
            "    print(traceback.format_exc().count('1 / 0'))"
        ),
        "1\n",
    ),
}


@pytest.mark.requirement("execute.stdout")
@pytest.mark.parametrize("name", PRINTED)
async def test_what_is_printed(run: Run, name: str) -> None:
    source, printed = PRINTED[name]
    outcome = await run(source)
    assert outcome.stdout == printed


@pytest.mark.requirement("execute.stdout")
async def test_output_before_a_timeout_is_kept(run_alone: Run) -> None:
    outcome = await run_alone("print('so far')\nwhile True: pass", Limits(timeout_secs=2))
    assert outcome.error is not None
    assert outcome.error.type == "Timeout"
    assert outcome.stdout == "so far\n"


@pytest.mark.requirement("execute.stdout_limit")
@pytest.mark.parametrize(
    "source", ["print('x' * 5000)", "for i in range(3000): print('xy')", "print('\u00e9' * 3000)"]
)
async def test_stdout_is_cut_with_a_mark_and_a_note(run: Run, source: str) -> None:
    outcome = await run(source, Limits(stdout_bytes=1000))
    assert outcome.error is None
    assert len(outcome.stdout.encode()) <= 1000 + 40
    assert outcome.stdout.endswith("[output cut at 1000 bytes]\n")
    assert "stdout was cut at 1000 bytes (sandbox limit); print less" in outcome.notes


async def test_stdout_of_just_the_limit_is_whole(run: Run) -> None:
    outcome = await run("print('x' * 999)", Limits(stdout_bytes=1000))
    assert outcome.stdout == "x" * 999 + "\n"
    assert not any("stdout" in note for note in outcome.notes)


@pytest.mark.requirement("execute.result_limit")
async def test_a_result_over_its_limit(run: Run) -> None:
    outcome = await run("'x' * 3000", Limits(result_bytes=1000))
    assert outcome.error is not None
    assert outcome.error.type == "ResultLimit"
    assert "3002 bytes" in outcome.error.message
    assert "1000" in outcome.error.message


@pytest.mark.requirement("execute.memory")
@pytest.mark.parametrize(
    "source", ["x = bytearray(1 << 30)", "x = []\nwhile True: x.append('y' * 99999)"]
)
async def test_memory_is_bounded(run_alone: Run, source: str) -> None:
    outcome = await run_alone(source, Limits(memory_mb=64, timeout_secs=10))
    assert outcome.error is not None
    assert outcome.error.type == "MemoryLimit"
    assert "64 MiB" in outcome.error.message
    assert "sandbox.memory_mb" in outcome.error.message


@pytest.mark.requirement("execute.time")
@pytest.mark.parametrize(
    "source",
    [
        "while True: pass",
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "import time\ntime.sleep(60)",
        "await asyncio.sleep(60)",
        "api.call_tool('s', 'never')",
        "await api.call_tool('s', 'never')",
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nsum(range(10**15))",
    ],
)
async def test_time_is_bounded(run_alone: Run, source: str) -> None:
    outcome = await run_alone(source, Limits(timeout_secs=0.5))
    assert outcome.error is not None
    assert outcome.error.type == "Timeout"
    assert "0.5 s" in outcome.error.message


@pytest.mark.requirement("sandbox.none_says_so")
async def test_level_none_says_so(run_alone: Run) -> None:
    for source in ("1", "1 / 0"):
        assert "sandbox level none: scripts are not contained" in (await run_alone(source)).notes


@pytest.mark.requirement("sandbox.nothing_left")
async def test_nothing_is_left_for_the_next_script(run_alone: Run) -> None:
    await run_alone(
        "import builtins\nbuiltins.left = 1\nopen('left.txt', 'w').write('x')\nleft = 1"
    )
    outcome = await run_alone("import os\n['left' in globals(), os.path.exists('left.txt')]")
    assert outcome.value == [False, False]


@pytest.mark.requirement("sandbox.environment")
async def test_the_environment_of_the_gateway_is_not_there(
    run_alone: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_GATEWAY", "1")
    outcome = await run_alone("import os\nsorted(os.environ)")
    assert outcome.value == ["HOME", "LANG", "LC_CTYPE", "TMPDIR"] or outcome.value == [
        "HOME",
        "LANG",
        "TMPDIR",
    ]


async def test_a_deep_result_is_cut_with_a_note(run: Run) -> None:
    outcome = await run("x = []\nfor _ in range(5000): x = [x]\nx")
    assert outcome.error is None
    assert any("too deep" in note for note in outcome.notes)


async def test_the_processes_that_a_script_starts_end_with_it(run_alone: Run) -> None:
    source = """
import os, subprocess
child = subprocess.Popen(["sleep", "60"])
os.getpgid(child.pid) == os.getpgid(0)
"""
    outcome = await run_alone(source)
    assert outcome.value is True  # in the group that is killed
