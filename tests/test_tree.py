"""The source keeps to its layout; ``make check`` runs this too."""

from pathlib import Path

import pytest

from tests.tree import MOST_LINES, overlong, repeated

SOURCE = Path(__file__).parents[1] / "src"


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    """The text of every file of the program."""
    return {
        str(path.relative_to(SOURCE)): path.read_text(encoding="utf-8")
        for path in SOURCE.rglob("*.py")
    }


def test_no_file_is_too_long(sources: dict[str, str]) -> None:
    assert overlong(sources) == {}


def test_a_class_name_occurs_once(sources: dict[str, str]) -> None:
    assert repeated(sources) == {}


@pytest.mark.parametrize(
    ("lines", "found"), [(MOST_LINES, {}), (MOST_LINES + 1, {"a.py": MOST_LINES + 1})]
)
def test_length_is_counted_in_lines(lines: int, found: dict[str, int]) -> None:
    assert overlong({"a.py": "x = 1\n" * lines, "b.py": ""}) == found


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"a.py": "class A: ...", "b.py": "class B: ..."}, {}),
        ({"b.py": "class A: ...", "a.py": "class A: ..."}, {"A": ["a.py", "b.py"]}),
        ({"a.py": "class A:\n class B: ...\ndef f():\n class B: ..."}, {"B": ["a.py", "a.py"]}),
        ({"a.py": "A = 1\nA = 2", "b.py": "# class A"}, {}),
    ],
)
def test_a_name_counts_wherever_it_is_defined(
    files: dict[str, str], found: dict[str, list[str]]
) -> None:
    assert repeated(files) == found
