"""Scripts as models write them, through a running gateway: most just work, the rest is explained.

``habits.txt`` has the scripts and what must come out of each. A block begins with ``=== NAME`` and
ends with lines ``==> FACT VALUE``: ``result JSON``, ``stdout TEXT``, ``note WORDS``, and for a
script that fails ``error TYPE`` and ``says WORDS`` (of message or hint: what to do instead).
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mcproxy.types import JsonObject
from tests.e2e.gateways import SERVERS, Running, gateway

LEAST_SCRIPTS, LEAST_SHARE = 80, 0.95
TRACKER: JsonObject = {"command": sys.executable, "args": [str(SERVERS / "tracker.py")]}


@dataclass(frozen=True, slots=True)
class Habit:
    """A script and the facts that its reply must have."""

    name: str
    script: str
    facts: tuple[tuple[str, str], ...]

    @property
    def works(self) -> bool:
        """Whether the script, as it is, gives what was wanted."""
        return all(fact != "error" for fact, _ in self.facts)


def habits() -> Iterator[Habit]:
    """The table."""
    text = Path(__file__).with_name("habits.txt").read_text("utf-8")
    for block in re.split(r"^=== ", text, flags=re.MULTILINE)[1:]:
        name, _, rest = block.partition("\n")
        script, *facts = re.split(r"^==> ", rest, flags=re.MULTILINE)
        split = (fact.strip("\n").partition(" ") for fact in facts)
        yield Habit(name, script.removesuffix("\n"), tuple((kind, told) for kind, _, told in split))


HABITS = {habit.name: habit for habit in habits()}


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway in front of two servers with issues."""
    config: JsonObject = {
        "servers": {"github": TRACKER, "sequential-thinking": TRACKER},
        "sandbox": {"timeout_secs": 20},
    }
    with gateway(tmp_path_factory.mktemp("habits"), config) as running:
        yield running


@pytest.mark.requirement("habits.understood")
@pytest.mark.parametrize("name", HABITS)
def test_a_script_gives_what_was_meant(tracking: Running, name: str) -> None:
    habit = HABITS[name]
    reply: Any = tracking.run(habit.script)
    error = reply.get("error") or {}
    assert (reply["status"] == "success") == habit.works, error
    for fact, told in habit.facts:
        if fact == "result":
            assert reply["result"] == json.loads(told)
        elif fact == "stdout":
            assert reply["stdout"] == f"{told}\n"
        elif fact == "note":
            assert told in " ".join(reply["notes"])
        elif fact == "error":
            assert error["type"] == told
        else:
            assert fact == "says"
            assert told in f"{error['message']} {error.get('hint', '')}"
    assert "mcproxy/" not in json.dumps(reply), "no path of the host is told"


@pytest.mark.requirement("habits.understood")
def test_nearly_all_work_unchanged() -> None:
    working = [habit for habit in HABITS.values() if habit.works]
    assert len(HABITS) >= LEAST_SCRIPTS
    assert len(working) >= LEAST_SHARE * len(HABITS)
    assert all(any(fact == "says" for fact, _ in h.facts) for h in HABITS.values() if not h.works)


ENDLESS = {
    "in a loop": ("rows = [0]\nn = 7\nwhile True:\n    n += 0", (3, 4), "rows is a list of 1"),
    "in a function": (
        "def f(found):\n    while found:\n        pass\nf({'a': 1})",
        (2, 3),
        "found is a dict with keys 'a'",
    ),
    "in a call that blocks": ('gh = api.server("github")\ndone = 3\ngh.wait()', (3,), "done is 3"),
    "in a call that is awaited": ('done = 3\nx = await api.server("github").wait()', (2,), ""),
    "in a sleep": ("import time\ndone = 3\ntime.sleep(60)", (3,), "done is 3"),
    "in a thread's call": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor() as pool:\n    pool.submit(api.github.wait).result()",
        (2, 3),
        "",
    ),
}


@pytest.mark.requirement("execute.where")
@pytest.mark.parametrize("name", ENDLESS)
def test_a_time_out_tells_line_and_values(tracking: Running, name: str) -> None:
    script, lines, values = ENDLESS[name]
    reply: Any = tracking.run(script, timeout_secs=2)
    assert reply["error"]["type"] == "Timeout"
    assert reply["error"]["line"] in lines
    assert f"in line {reply['error']['line']}" in reply["error"]["message"]
    assert values in reply["error"]["hint"]


@pytest.mark.requirement("execute.calls_grouped")
def test_a_call_that_failed_tells_line_and_arguments(tracking: Running) -> None:
    reply: Any = tracking.run(
        'gh = api.server("github")\ngh.get_issue(number=1)\n\n'
        "for number in (98, 99):\n    try:\n        gh.get_issue(number=number)\n"
        "    except ToolError:\n        pass\nlong = 'x' * 500\ngh.close(number=long)"
    )
    told = [(c["line"], c["arguments"]) for c in reply["calls"] if c["outcome"] == "failed"]
    assert told[:2] == [(6, '{"number":98}'), (6, '{"number":99}')]
    line, arguments = told[2]
    assert line == 10
    assert arguments.startswith('{"number":"xxx')
    assert len(arguments) <= 200
    assert "line" not in reply["calls"][0]
