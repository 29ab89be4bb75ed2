"""From what is sent as a script to its tree: what is understood, and what is left alone."""

import ast
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.sandbox.jail.script.running import parse_script
from mcproxy.sandbox.jail.script.source import read_source, without_fence

READ = {
    "```python\nx = 1\n```": "x = 1",
    "~~~\nx = 1\n~~~\n": "x = 1",
    "  ```py\n  x = 1\n  ```": "x = 1",
    "Sure:\n```\nx = 1\n```\nThat is all.": "x = 1",
    "    x = 1\n    y = 2": "x = 1\ny = 2",
    "x = 1\n    y = 2": "x = 1\ny = 2",
    r"x = 1\ny = 2": "x = 1\ny = 2",
    r"x = 'a\n'\ny = 2": "x = 'a\\n'\ny = 2",
    r"x = \"a\"\ny = 2": "x = 'a'\ny = 2",
    "const x = 1;\nlet [a, b] = [x, 2];": "x = 1\n[a, b] = [x, 2]",
    "x = [1 === 2, 'a === b']; // why": "x = [1 == 2, 'a === b']",
    "x = true || false": "x = True or False",
    "x = {key: null, 'b': [undefined]}": "x = {'key': None, 'b': [None]}",
    "x = {type: 'a', name: 'b'}": "x = {'type': 'a', 'name': 'b'}",
    "console.log(JSON.stringify(x))": "print(json.dumps(x))",
    "import api": "pass",
    "import os, api as a": "import os\na = api",
    "from api import server as s, ToolError": "s = api.server\nToolError = api.ToolError",
    "from mcproxy.api import github": "github = api.github",
    "from mcproxy import api": "pass",
    "from api import search\nexec('true = 1')\ntrue": "search = api.search\nexec('true = 1')\ntrue",
    "from api.github import get": "get = api.github.get",
}


@pytest.mark.requirement("habits.understood")
@pytest.mark.parametrize("text", READ)
def test_what_is_understood(text: str) -> None:
    assert ast.unparse(read_source(text).tree) == ast.unparse(ast.parse(READ[text]))


LEFT_ALONE = [
    "x = {1: 2, type: int, str: 'a'}",
    "true = 1\nx = true",
    "def f(null):\n    return null",
    "import console\nconsole.log(1)",
    "key = 'a'\nx = {key: 1}",
    "globals()['true'] = 1\nx = true",
    "from .api import x",
    "import apis, mcproxyx",
    "x = {ToolError: 1, json: 2}",
    "from sympy import *\nx = {y: true}",
    "x = '''\n```\n1\n```\n'''",
    "x = 7 // 2",
    "JSON.stringify(1, None, 2)",
]


@pytest.mark.requirement("preflight.never_refuses")
@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_is_python_is_left_alone(text: str) -> None:
    source = read_source(text)
    assert (source.text, source.notes) == (text, ())
    assert ast.dump(source.tree) == ast.dump(ast.parse(text))


BROKEN = [
    "x = (",
    "x = '''\n```\n1\n```\n'''\ny = (",  # the fence is in a text
    "const x = () => 1",
    "if x {\n}",
    "```\nx = (\n```",
]


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_no_python_is_refused_as_it_was_sent(text: str) -> None:
    with pytest.raises(SyntaxError) as broken:
        parse_script(text)
    with pytest.raises(SyntaxError) as plain:
        ast.parse(text)
    assert (broken.value.lineno, broken.value.msg) == (plain.value.lineno, plain.value.msg)


def test_lines_keep_their_numbers() -> None:
    (statement,) = read_source("Here:\n\n```python\n\nx = 1\n```").tree.body
    assert statement.lineno == 5


@given(st.text(alphabet="`~ \n\\\"'ntxy=1;/{}:#&|", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with warnings.catch_warnings(action="ignore"):
        try:
            ast.parse(text)
        except SyntaxError:
            pass
        else:
            assert read_source(text).text == text
            return
        try:
            ast.parse(read_source(text).text)
        except SyntaxError:
            assert without_fence(text).count("\n") <= text.count("\n") + 1
