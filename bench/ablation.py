"""What each part of the ranking is worth: what replies show, with all parts and without one each.

Run: ``python -m bench ablation``; the texts are those of ``bench.search`` and ``bench.intents``, of
the latter the half for tuning.
"""

import json
import statistics
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import cast

from bench import intents
from bench import search as tasks
from bench.neighbours import RELATED_CLOSENESS, related, term
from mcproxy.manifest import index, lexicon, rank
from mcproxy.manifest.model import build
from mcproxy.manifest.neighbours import FULL, Neighbours, shipped
from mcproxy.types import JsonObject

# What is changed for each row, by module and name.
PARTS: Mapping[str, Mapping[tuple[object, str], object]] = {
    "all parts": {},
    "without near words": {(lexicon, "shipped"): lambda: near_words("none")},
    "without the list of them": {(lexicon, "shipped"): lambda: near_words("model")},
    "without the model's": {(lexicon, "shipped"): lambda: near_words("list")},
    "without phrases": {(rank, "MAX_PHRASE"): 1},
    "without longer words": {(lexicon, "BEGINNING"): 0.0},
    "without servers' names": {(index, "SERVER_NAME"): 0.0},
    "without servers' descriptions": {(index, "SERVER_DESCRIPTION"): 0.0},
    "without servers' subjects": {(index, "SERVER_SUBJECT"): 0.0},
    "without the share of the name": {(rank, "NAME_SHARE"): 0.0},
    "without coverage": {(rank, "PART"): 0.0, (rank, "MOST"): 0.0},
    "without what is known": {(rank, "HARDLY_KNOWN"): 0.0},
}


def main() -> int:
    """Print a row for each part."""
    if not (tasks.LIVE.is_dir() and tasks.CATALOGUE.is_dir()):
        print("skipped: the catalogues are not there (shared/eval, shared/catalog)")
        return 0
    print(f"{'':<30} {'question':>8} {'steps':>6} {'requests':>8} {'unserved':>8}")
    for name, changes in PARTS.items():
        with changed(changes):
            print(f"{name:<30} {row()}", flush=True)
    return 0


@contextmanager
def changed(changes: Mapping[tuple[object, str], object]) -> Iterator[None]:
    """Have the values instead of those that the program has."""
    with ExitStack() as undo:
        for (module, name), value in changes.items():
            undo.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, value)
        yield


def row() -> str:
    """The shares shown of tasks and requests, and the requests without a tool that get some."""
    live, catalogue = build(tasks.live_servers()), intents.catalogue()
    read = [
        tasks.read_task(cast("JsonObject", json.loads(line))) for line in tasks.lines(tasks.LIVE)
    ]
    shown = [
        statistics.mean(tasks.shown(live, task, kind) for task in read) for kind in tasks.KINDS
    ]
    lines = [line.split("\t") for line in intents.INTENTS.read_text().splitlines()[::2]]
    asked = [intents.shown(catalogue, query, refs.split()) for refs, query in lines]
    unserved = intents.UNSERVED.read_text().splitlines()
    noise = sum(bool(tasks.visible(catalogue, query)) for query in unserved)
    return f"{shown[0]:>8.3f} {shown[1]:>6.3f} {statistics.mean(asked):>8.3f} {noise:>8}"


def near_words(wanted: str) -> Neighbours:
    """The table with those only that the ``model`` found, or those of the ``list``, or ``none``."""
    whole = shipped()
    pairs = {(term(word), term(near)) for word, near in related()}
    least = round(RELATED_CLOSENESS * FULL)  # of one that the list alone has
    near: list[int] = []
    closeness: list[int] = []
    starts = [0]
    for number, stem in enumerate(whole.stems):
        for at in range(whole.starts[number], whole.starts[number + 1]):
            listed = (stem, whole.stems[whole.near[at]]) in pairs
            found = not listed or whole.closeness[at] > least
            if (wanted == "list" and listed) or (wanted == "model" and found):
                near.append(whole.near[at])
                closeness.append(whole.closeness[at])
        starts.append(len(near))
    return Neighbours(whole.stems, whole.number_of, starts, near, closeness)


if __name__ == "__main__":
    sys.exit(main())
