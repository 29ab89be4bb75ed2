"""Rewriting, as pure tree to tree: which call is turned to which side."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.sandbox.jail.script.rewrite import rewrite

P, A, E, S = "__promise__", "__awaited__", "__either__", "__settled__"

CASES = {
    "x = f(1)": "x = f(1)",
    "await f(1)": f"await {A}({P}(f)(1))",
    "await f(g(1))": f"await {A}({P}(f)(g(1)))",
    "x = f()\nawait x": f"x = {P}(f)()\nawait {A}(x)",
    "x = f()\ny = x\nawait y": f"x = {P}(f)()\ny = x\nawait {A}(y)",
    "x = f()\ndef g():\n    x = f()\n    return 1\nawait x": (
        f"x = {P}(f)()\n\ndef g():\n    x = f()\n    return 1\nawait {A}(x)"
    ),
    "for x in [f()]:\n    await x": f"for x in [{P}(f)()]:\n    await {A}(x)",
    "asyncio.run(f())": f"asyncio.run({P}(f)())",
    "other.run(f())": "other.run(f())",
    "wait(f())": "wait(f())",
    "from asyncio import wait\nwait(f())": f"from asyncio import wait\nwait({P}(f)())",
    "asyncio.wait_for(f(), timeout=g())": f"asyncio.wait_for({P}(f)(), timeout=g())",
    "api.parallel(map(f, x))": f"api.parallel(map({P}(f), x))",
    "lambda: f()": f"lambda: {E}(__asked__(), f)()",
    "def g():\n    return f()": (
        f"def g():\n    __wanted__ = __asked__()\n    return {E}(__wanted__, f)()"
    ),
    "def g():\n    'doc'\n    return f()": (
        f'def g():\n    """doc"""\n    __wanted__ = __asked__()\n    return {E}(__wanted__, f)()'
    ),
    "def g():\n    yield 1\n    return f()": "def g():\n    yield 1\n    return f()",
    "def g():\n    with x:\n        return f()": "def g():\n    with x:\n        return f()",
    "async def g():\n    return f()": f"async def g():\n    return await {S}({P}(f)())",
    "async def g():\n    x = f()": f"async def g():\n    x = await {S}({P}(f)())",
    "async def g():\n    f()": f"async def g():\n    await {S}({P}(f)())",
    "async def g():\n    print(f())": "async def g():\n    print(f())",
    "async def g():\n    x = [f() for i in y]": "async def g():\n    x = [f() for i in y]",
    "async def g():\n    class C:\n        x = f()": (
        "async def g():\n\n    class C:\n        x = f()"
    ),
    "f() + 1": "f() + 1",
    "x = [f() for i in y]\nlen(x)": "x = [f() for i in y]\nlen(x)",
}


@pytest.mark.parametrize("source", CASES)
def test_the_side_of_a_call(source: str) -> None:
    assert ast.unparse(rewrite(ast.parse(source))) == CASES[source]


SCRIPT = (
    "def f(i):\n    return g(i)\n\nx = [f(i) for i in y]\nawait asyncio.gather(\n    *x, h())\n"
)


def test_lines_are_kept() -> None:
    before = _calls(ast.parse(SCRIPT))
    after = _calls(rewrite(ast.parse(SCRIPT)))
    assert before == {(2, "g(i)"), (4, "f(i)"), (5, "asyncio.gather(*x, h())"), (6, "h()")}
    assert {line for line, _ in after} == {line for line, _ in before}


def _calls(tree: ast.AST) -> set[tuple[int, str]]:
    return {(n.lineno, ast.unparse(n)) for n in ast.walk(tree) if isinstance(n, ast.Call)}


NAMES = st.sampled_from("abc")
CALLS = st.builds("{}({})".format, NAMES, NAMES)
LINES = st.one_of(
    st.builds("{} = {}".format, NAMES, CALLS),
    st.builds("{} = [{}]".format, NAMES, CALLS),
    st.builds("{}.append({})".format, NAMES, CALLS),
    st.builds("for {} in {}: pass".format, NAMES, NAMES),
    st.builds("{0}, {1} = {2}".format, NAMES, NAMES, CALLS),
    st.builds("def {}({}): return {}".format, NAMES, NAMES, CALLS),
    st.builds("async def {}(): return {}".format, NAMES, CALLS),
    CALLS,
)


@given(st.lists(LINES, max_size=8))
def test_without_awaits_and_functions_nothing_changes(lines: list[str]) -> None:
    plain = "\n".join(line for line in lines if "def" not in line)
    assert ast.unparse(rewrite(ast.parse(plain))) == ast.unparse(ast.parse(plain))


@given(st.lists(st.one_of(LINES, st.builds("await {}".format, NAMES)), max_size=8))
def test_what_was_valid_stays_valid(lines: list[str]) -> None:
    tree = rewrite(ast.parse("\n".join(lines)))
    compile(tree, "<script>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
