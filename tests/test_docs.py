"""The documentation names what there is: its links lead somewhere, its tree is the tree."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/mcproxy"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)", re.MULTILINE)
_FENCED = re.compile(r"```.*?```", re.DOTALL)
_TREE = re.compile(r"^## The tree\n(.*?)^## ", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"`([a-z_/]+(?:/|\.py))`")


@pytest.mark.requirement("docs.links")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
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
