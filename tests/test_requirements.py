"""Each promise has a test, and each test that names a promise names one that exists."""

import re
from pathlib import Path

from tests.requirements import REQUIREMENTS

TESTS = Path(__file__).parent
_MARK = re.compile(r'mark\.requirement\(\s*"([^"]+)"')


def test_promises_and_tests_agree() -> None:
    sources = [path.read_text() for path in TESTS.rglob("test_*.py")]
    carried = {id_ for source in sources for id_ in _MARK.findall(source)}
    assert carried - REQUIREMENTS.keys() == set(), "tests name promises that are not listed"
    assert REQUIREMENTS.keys() - carried == set(), "promises that no test shows"
