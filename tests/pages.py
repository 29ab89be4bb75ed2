"""The pages of the documentation, and the blocks of code in them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
TOLD = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]  # what users read
NOT_RUN = "*Not run by the tests: "
_BLOCK = re.compile(r"^(`{3,})(\w*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its page, its language, and the text of the page up to the next block."""

    page: str
    place: int
    language: str
    text: str
    after: str

    @property
    def is_run(self) -> bool:
        """Whether it carries no reason, for readers too, why it is not."""
        return NOT_RUN not in self.after


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = list(_BLOCK.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)]
    return [
        Block(page.name, place, match[2], match[3], text[match.end() : end])
        for place, (match, end) in enumerate(zip(found, ends, strict=False))
    ]


def outcome(all_blocks: list[Block], block: Block) -> dict[str, str]:
    """What the page shows of a script's outcome, by language: the blocks right behind it."""
    shown: dict[str, str] = {}
    before = block
    for one in all_blocks[block.place + 1 :]:
        if one.language not in ("json", "text") or before.after.strip():
            break
        shown[one.language] = one.text
        before = one
    return shown


def rows_of(page: Path, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, as cells."""
    text = page.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
