"""How well and how fast ``search`` finds tools: recall, what a reply shows, tokens and times.

Reads LiveMCPBench (527 tools; tasks with the tools that solve them), MCP-zero and collected
catalogues (3,000 tools) from the folder that ``MCPROXY_CATALOGUES`` names, else from ``shared``
beside the project; without it there is nothing to measure. Each task is asked twice: with its text
as one query, and with one query a step, where a tool counts as found if any step finds it. Recall
is the mean over tasks of the share of their tools that are found. "Shown" is the share that a reply
with default arguments shows, as a model sees it. Weights were chosen while looking at these very
tasks: the rates show what a change does, and flatter what other tasks would see.

``search_baseline.json`` has the ranks that the ranking before this one gave the same tools, each
reply then showing ten, for a comparison task by task.

Run: ``python -m bench search``
"""

import json
import os
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mcproxy.manifest.find import find
from mcproxy.manifest.model import Manifest, build
from mcproxy.manifest.reply_text import as_text
from mcproxy.manifest.search import search
from mcproxy.types import Json, JsonObject, ServerView, Tool, ToolRef

ABOVE = [folder / "shared" for folder in Path(__file__).resolve().parents[1:]]
SHARED = Path(
    os.environ.get("MCPROXY_CATALOGUES")
    or next((folder for folder in ABOVE if (folder / "eval").is_dir()), ABOVE[0])
)
LIVE = SHARED / "eval" / "livemcpbench"
ZERO = SHARED / "eval" / "mcp-zero" / "mcp_tools_cleaned.json"
CATALOGUE = SHARED / "catalog"
TOOLS_WANTED = 3_050  # some are listed twice
RANKS = (1, 3, 5, 10, 20, 50)
KINDS = ("question", "steps")
BASELINE = Path(__file__).with_name("search_baseline.json")
BASELINE_SHOWN = 10
REPEATS = 3  # a query's time is the least of these, of this thread alone: other work shows less


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the benchmark: its text, its steps, and the tools that solve it: each as the
    (server, tool) that serve equally well."""

    id: str
    text: str
    steps: tuple[str, ...]
    gold: tuple[frozenset[tuple[str, str]], ...]

    def queries(self, kind: str) -> tuple[str, ...]:
        return (self.text,) if kind == "question" else self.steps


def main() -> int:
    if not (LIVE.is_dir() and ZERO.is_file() and CATALOGUE.is_dir()):
        print(f"skipped: the catalogues are not there ({SHARED.name}/eval, {SHARED.name}/catalog)")
        return 0
    tasks = [read_task(cast("JsonObject", json.loads(line))) for line in lines(LIVE)]
    small, large = build(live_servers()), build(large_catalogue())
    largest = build([*large_catalogue(), *copies(large_catalogue(), 2)])
    print_found(small, tasks)
    print(f"\n{'tools':>6} {'queries':<9} {'p50 ms':>7} {'p95 ms':>7} {'tokens':>7} {'bytes':>7}")
    count_tokens = token_counter()
    for manifest in (small, large, largest):
        for kind in KINDS:
            queries = [query for task in tasks for query in task.queries(kind)]
            print_costs(manifest, kind, queries, count_tokens)
    for manifest in (small, large, largest):
        print_index_time(manifest)
    return 0


def print_found(manifest: Manifest, tasks: Sequence[Task]) -> None:
    """Recall at each rank and in the reply, before and now, and the two compared task by task."""
    columns = " ".join(f"{f'@{rank}':>5}" for rank in RANKS)
    print(f"{'recall':<9} {'ranking':<8} {columns} {'shown':>6}")
    before = cast("dict[str, dict[str, list[int | None]]]", json.loads(BASELINE.read_text()))
    compared = []
    for kind in KINDS:
        now = [ranks(manifest, task, kind) for task in tasks]
        then = [[rank or sys.maxsize for rank in before[task.id][kind]] for task in tasks]
        shown_now = [shown(manifest, task, kind) for task in tasks]
        shown_then = [share(found, BASELINE_SHOWN) for found in then]
        for name, found, seen in (("before", then, shown_then), ("now", now, shown_now)):
            at = " ".join(
                f"{statistics.mean(share(one, rank) for one in found):>5.3f}" for rank in RANKS
            )
            print(f"{kind:<9} {name:<8} {at} {statistics.mean(seen):>6.3f}")
        compared.append((kind, [new - old for new, old in zip(shown_now, shown_then, strict=True)]))
    for kind, differences in compared:
        better, worse = sum(one > 0 for one in differences), sum(one < 0 for one in differences)
        error = 1.96 * statistics.stdev(differences) / len(differences) ** 0.5
        print(
            f"shown, {kind}: {statistics.mean(differences):+.3f} (95 %: +-{error:.3f}); "
            f"better in {better} tasks, worse in {worse}, of {len(tasks)}"
        )


def ranks(manifest: Manifest, task: Task, kind: str) -> list[int]:
    """The best rank of each tool of the task over its queries; large when absent."""
    places: dict[tuple[str, str], int] = {}
    for query in task.queries(kind):
        for at, hit in enumerate(find(manifest, query, alone=False).hits, 1):
            ref = (hit.tool.ref.server, hit.tool.ref.tool)
            places[ref] = min(at, places.get(ref, at))
    return [min(places.get(ref, sys.maxsize) for ref in equal) for equal in task.gold]


def share(found: Sequence[int], rank: int) -> float:
    return sum(one <= rank for one in found) / len(found)


def shown(manifest: Manifest, task: Task, kind: str) -> float:
    """The share of the task's tools that replies with default arguments show."""
    seen = {tool for query in task.queries(kind) for tool in visible(manifest, query)}
    return sum(not seen.isdisjoint(equal) for equal in task.gold) / len(task.gold)


def visible(manifest: Manifest, query: str) -> list[tuple[str, str]]:
    """(server, tool) of all that a reply with default arguments shows, in its order: those with a
    line, then those by name."""
    reply = search(manifest, query, namespace="bench")
    seen = [
        (str(entry["server"]), str(tool["name"]))
        for entry in objects(reply["results"])
        for tool in objects(entry["matched_tools"])
    ]
    also = reply.get("also")
    named = also.items() if isinstance(also, dict) else ()
    return seen + [
        (server, str(name)) for server, names in named for name in cast("list[Json]", names)
    ]


def print_costs(
    manifest: Manifest, kind: str, queries: Sequence[str], count_tokens: Callable[[str], int]
) -> None:
    """Time and mean tokens of replies with default arguments; percentiles are over queries."""
    times, tokens, sizes = [], [], []
    search(manifest, "warm", namespace="bench")
    for query in queries:
        spent = []
        for _ in range(REPEATS):
            begun = time.thread_time()
            text = as_text(search(manifest, query, namespace="bench"))
            spent.append((time.thread_time() - begun) * 1e3)
        times.append(min(spent))
        tokens.append(count_tokens(text))
        sizes.append(len(text.encode()))
    p95 = statistics.quantiles(times, n=20)[-1]
    print(
        f"{manifest.tool_count:>6} {kind:<9} {statistics.median(times):>7.2f} {p95:>7.2f} "
        f"{statistics.mean(tokens):>7.0f} {max(sizes):>7}"
    )


def print_index_time(manifest: Manifest) -> None:
    """What a start costs, and what one server's change costs."""
    views = list(manifest.servers.values())
    tracemalloc.start()
    measured = build(views)
    _ = measured.lexicon
    memory = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    begun = time.thread_time()
    whole = build(views)
    built = time.thread_time()
    build([ServerView("new", "ready", "", views[0].tools), *views[1:]], whole)
    changed = time.thread_time()
    _ = whole.lexicon
    merged = time.thread_time()
    print(
        f"\nindex {whole.tool_count} tools: {(built - begun) * 1e3:.0f} ms; one server changed: "
        f"{(changed - built) * 1e3:.1f} ms; first search after a change: "
        f"{(merged - changed) * 1e3:.0f} ms more; {memory / 1e6:.0f} MB"
    )


def token_counter() -> Callable[[str], int]:
    """o200k_base, or a rough guess where the tokenizer is not installed."""
    try:
        import bpe_openai  # type: ignore[import-untyped]  # noqa: PLC0415  # optional
    except ImportError:
        print("(bpe-openai is not installed: tokens are bytes / 4)")
        return lambda text: len(text.encode()) // 4
    encoding = bpe_openai.get_encoding("o200k_base")
    return lambda text: len(encoding.encode(text))


def live_servers() -> list[ServerView]:
    entries = objects(json.loads((LIVE / "tools.json").read_text()))
    return [
        view(entry, [tool for group in groups(entry) for tool in objects(group["tools"])])
        for entry in entries
    ]


def large_catalogue() -> list[ServerView]:
    """At least 3,000 tools of more than 300 servers."""
    views = [view(entry, map(zero_tool, objects(entry["tools"]))) for entry in zero_entries()]
    for path in sorted(CATALOGUE.glob("*.json")):
        if sum(len(one.tools) for one in views) >= TOOLS_WANTED:
            break
        entry = cast("JsonObject", json.loads(path.read_text()))
        views.append(view({"name": f"{path.stem}-2"}, objects(entry["tools"])))
    return views


def copies(views: Sequence[ServerView], count: int) -> Iterator[ServerView]:
    """The same servers under other names."""
    for number in range(count):
        for one in views:
            name = f"{one.name} {number + 2}"
            tools = tuple(Tool(ToolRef(name, tool.ref.tool), tool.definition) for tool in one.tools)
            yield ServerView(name, one.state, one.description, tools)


def view(entry: JsonObject, tools: Iterable[JsonObject]) -> ServerView:
    name = str(entry["name"])
    listed = tuple(Tool(ToolRef(name, str(tool["name"])), tool) for tool in tools)
    return ServerView(name, "ready", str(entry.get("description") or ""), listed)


def zero_entries() -> list[JsonObject]:
    return objects(json.loads(ZERO.read_text()))


def zero_tool(tool: JsonObject) -> JsonObject:
    """MCP-zero has texts where MCP has schemas: ``{"url": "(string) The page's address"}``."""
    told = tool.get("parameter")
    told = told if isinstance(told, dict) else {}
    properties: JsonObject = {name: {"description": str(text)} for name, text in told.items()}
    schema: JsonObject = {"type": "object", "properties": properties}
    return {"name": tool["name"], "description": tool["description"], "inputSchema": schema}


def groups(entry: JsonObject) -> list[JsonObject]:
    by_server = entry["tools"]
    return objects(list(by_server.values())) if isinstance(by_server, dict) else []


def lines(folder: Path) -> list[str]:
    return (folder / "golden_dev.jsonl").read_text().splitlines()


def read_task(record: JsonObject) -> Task:
    gold = tuple(
        frozenset(
            (str(server), str(tool["tool"])) for server in cast("list[Json]", tool["servers"])
        )
        for tool in objects(record["gold"])
    )
    steps = tuple(str(step) for step in cast("list[Json]", record["steps"]))
    return Task(str(record["task_id"]), str(record["query"]), steps, gold)


def objects(value: Json) -> list[JsonObject]:
    """The objects of a JSON list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


if __name__ == "__main__":
    sys.exit(main())
