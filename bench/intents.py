"""How well ``search`` finds what people ask for in their own words: 260 requests, and 90 that no
tool serves, over collected catalogues (40 servers, 1,900 tools).

``intents.tsv``: a request a line, after the tools that serve it equally well. Every second one was
set aside before anything was tuned ("held out"). ``intents_final.tsv``: 60 more, for tools drawn at
random, and ``unserved_final.txt``, written before the list of near words grew and its phrases came;
nobody tunes on them. Names and misspelt names of tools are asked too.

Run: ``python -m bench intents``; ``python -m bench.intents --misses`` shows what is not found as
well, of the half for tuning only.
"""

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from bench.search import CATALOGUE, objects, view, visible
from mcproxy.manifest.model import Manifest, build
from mcproxy.types import JsonObject

INTENTS = Path(__file__).with_name("intents.tsv")
UNSERVED = Path(__file__).with_name("unserved.txt")
FINAL, UNSERVED_FINAL = INTENTS.with_stem("intents_final"), UNSERVED.with_stem("unserved_final")
NAMES_ASKED, MIN_LETTERS = 300, 8
SEED = 7


def main() -> int:
    """Print the shares."""
    if not CATALOGUE.is_dir():
        print("skipped: the catalogues are not there (shared/catalog)")
        return 0
    manifest = catalogue()
    lines, final = ([line.split("\t") for line in read(path)] for path in (INTENTS, FINAL))
    for name, half in (("tuned on", lines[::2]), ("held out", lines[1::2]), ("final", final)):
        missed = [(query, refs) for refs, query in half if not shown(manifest, query, refs.split())]
        print(f"requests, {name}: {1 - len(missed) / len(half):.3f} of {len(half)} shown")
        if "--misses" in sys.argv and name == "tuned on":
            print(*(f"  {query}: {refs}" for query, refs in missed), sep="\n")
    for path in (UNSERVED, UNSERVED_FINAL):
        unserved = read(path)
        found = [query for query in unserved if visible(manifest, query)]
        print(
            f"requests that no tool serves, {path.stem}: {len(found)} of {len(unserved)} get tools"
        )
        if "--misses" in sys.argv and path == UNSERVED:
            print(*(f"  {query}" for query in found), sep="\n")
    print_names(manifest)
    return 0


def read(path: Path) -> list[str]:
    return path.read_text().splitlines()


def catalogue() -> Manifest:
    """All collected catalogues, a server each."""
    return build(
        view({"name": path.stem}, objects(found["tools"]))
        for path in sorted(CATALOGUE.glob("*.json"))
        if (found := cast("JsonObject", json.loads(path.read_text())))
    )


def print_names(manifest: Manifest) -> None:
    """Exact names as they are, and with one letter wrong: is the tool (or its namesake) first?"""
    chance = random.Random(SEED)  # noqa: S311  # which names are asked
    listed = chance.sample(manifest.tools, NAMES_ASKED)
    exact = sum(first(manifest, tool.ref.tool) == tool.ref.tool for tool in listed)
    long = [tool for tool in listed if len(tool.ref.tool) >= MIN_LETTERS]
    typed = sum(first(manifest, misspelt(tool.ref.tool, chance)) == tool.ref.tool for tool in long)
    print(f"exact names first: {exact / len(listed):.3f}; misspelt ones: {typed / len(long):.3f}")


def misspelt(name: str, chance: random.Random) -> str:
    """The name with two neighbours swapped, or a letter lost, or doubled, in its longest word."""
    word = max("".join(char if char.isalpha() else " " for char in name).split(), key=len)
    at = chance.randrange(1, max(len(word) - 1, 2))
    head, tail = word[:at], word[at:]
    wrong = (f"{head}{tail[1:2]}{tail[:1]}{tail[2:]}", head + tail[1:], f"{head}{tail[:1]}{tail}")
    return name.replace(word, chance.choice(wrong), 1)


def first(manifest: Manifest, query: str) -> str:
    found = visible(manifest, query)
    return found[0][1] if found else ""


def shown(manifest: Manifest, query: str, wanted: Sequence[str]) -> bool:
    return any(f"{server}.{tool}" in wanted for server, tool in visible(manifest, query))


if __name__ == "__main__":
    sys.exit(main())
