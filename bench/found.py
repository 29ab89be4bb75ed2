"""How well and how fast search finds, as tables: the figures of ``search``, ``intents`` and
``ablation``.

Run: ``python -m bench measure search``; what the texts are is told in ``bench.search`` and
``bench.intents``.
"""

import json
import statistics
import sys
import time
from collections.abc import Sequence
from typing import cast

from bench import ablation, catalogues, intents, search
from bench.data import Cell, Table, rounded
from mcproxy.manifest.model import Manifest, build
from mcproxy.manifest.reply_text import as_text
from mcproxy.manifest.search import search as searched
from mcproxy.types import JsonObject
from tests.tokens import count

UNSEEN = "not looked at"


def measure(*, quick: bool) -> list[Table]:
    """The tables; none without the catalogues."""
    if not catalogues.there():
        raise FileNotFoundError(
            "the catalogues are not there: MCPROXY_CATALOGUES names their folder"
        )
    tasks = [
        search.read_task(cast("JsonObject", json.loads(line))) for line in search.lines(search.LIVE)
    ][: 3 if quick else None]
    small = build(search.live_servers())
    manifests = [small]
    if not quick:
        large = search.large_catalogue()
        manifests += [build(large), build([*large, *search.copies(large, 2)])]
    return [
        _recall(small, tasks),
        _requests(),
        _costs(manifests, tasks),
        *([] if quick else [_ablation()]),
    ]


def _recall(manifest: Manifest, tasks: Sequence[search.Task]) -> Table:
    before = json.loads(search.BASELINE.read_text(encoding="utf-8"))
    rows: list[tuple[Cell, ...]] = []
    for kind in search.KINDS:
        then = [[rank or sys.maxsize for rank in before[task.id][kind]] for task in tasks]
        now = [search.ranks(manifest, task, kind) for task in tasks]
        seen_then = [search.share(found, search.BASELINE_SHOWN) for found in then]
        seen_now = [search.shown(manifest, task, kind) for task in tasks]
        for name, found, seen in (("before", then, seen_then), ("now", now, seen_now)):
            at = [
                statistics.mean(search.share(one, rank) for one in found) for rank in search.RANKS
            ]
            rows.append((f"{kind}, {name}", *map(_share, (*at, statistics.mean(seen)))))
    note = (
        f"The {len(tasks)} annotated tasks of LiveMCPBench, {manifest.tool_count} tools. "
        "Question: the task is the query; steps: one query a step. Recall at rank, and the share "
        "of needed tools that default replies show. The weights were chosen on these very tasks, "
        "which flatters them. Before: the ranking of the release before, whose replies show ten "
        "tools."
    )
    columns = ("ranking", *(f"@{rank}" for rank in search.RANKS), "shown")
    return Table("recall", "What search finds", "measured", columns, tuple(rows), note)


def _requests() -> Table:
    manifest = intents.catalogue()
    lines, final = (
        [line.split("\t") for line in intents.read(path)]
        for path in (intents.INTENTS, intents.FINAL)
    )
    halves = {"tuned on": lines[::2], "set aside, then seen": lines[1::2], UNSEEN: final}
    rows: list[tuple[Cell, ...]] = []
    for name, asked in halves.items():
        found = sum(intents.shown(manifest, query, refs.split()) for refs, query in asked)
        rows.append((name, len(asked), found, _share(found / len(asked))))
    for name, path in (("tuned on", intents.UNSERVED), (UNSEEN, intents.UNSERVED_FINAL)):
        unserved = intents.read(path)
        noise = sum(bool(search.visible(manifest, query)) for query in unserved)
        label = f"that no tool serves, {name}: get tools"
        rows.append((label, len(unserved), noise, _share(noise / len(unserved))))
    note = (
        f"Requests in people's own words over {manifest.tool_count:,} tools: a right tool stands "
        "in the reply. Those set aside were seen later by whoever wrote the list of words; those "
        "not looked at are for tools drawn at random, and were written by the same hand as the "
        "list."
    )
    columns = ("requests", "asked", "shown", "share")
    return Table("requests", "What people ask for", "measured", columns, tuple(rows), note)


def _costs(manifests: Sequence[Manifest], tasks: Sequence[search.Task]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for manifest in manifests:
        queries = [query for task in tasks for kind in search.KINDS for query in task.queries(kind)]
        searched(manifest, "warm", namespace="bench")
        times, sizes = [], []
        for query in queries:
            spent = []
            for _ in range(search.REPEATS):
                begun = time.thread_time()
                told = as_text(searched(manifest, query, namespace="bench"))
                spent.append((time.thread_time() - begun) * 1e3)
            times.append(min(spent))
            sizes.append(count(told))
        views = list(manifest.servers.values())
        begun = time.thread_time()
        build(views)
        index = time.thread_time() - begun
        p95 = statistics.quantiles(times, n=20)[-1]
        row = (statistics.median(times), p95, statistics.mean(sizes), index)
        rows.append((manifest.tool_count, *map(rounded, row)))
    columns = ("tools", "p50 ms", "p95 ms", "tokens of a reply, mean", "index, s")
    note = (
        "Processor time of one search with default arguments, the least of three; of 10,000 tools "
        "a third is distinct."
    )
    return Table("costs", "What a search costs", "measured", columns, tuple(rows), note)


def _ablation() -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, changes in ablation.PARTS.items():
        with ablation.changed(changes):
            *shares, noise = ablation.row().split()
        rows.append((name, *map(float, shares), int(noise)))
    columns = ("ranking", "question", "steps", "requests", "unserved get tools")
    note = (
        "Shares shown of tasks, steps and requests (the half for tuning), and how many of 50 "
        "requests that no tool serves get tools."
    )
    title = "What each part of the ranking is worth"
    return Table("ablation", title, "measured", columns, tuple(rows), note)


def _share(value: float) -> float:
    return round(value, 3)
