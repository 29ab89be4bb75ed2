"""How well and how fast ``search`` finds tools: hit rates, tokens and times on public catalogues.

Reads LiveMCPBench (527 tools, tasks with the tools that solve them) and MCP-zero with collected
catalogues (3,000 tools) from the folder ``shared`` beside the project; without it there is nothing
to measure. A hit: a tool of the task is among the first k for one of its steps. Many steps ("write
a report") name no tool's work, so 100 % is out of reach. The weights were chosen while looking at
these very tasks: the rates show what a change does, and flatter what other tasks would see.

Run: ``python bench/search.py``
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mcproxy.manifest.model import Manifest, build
from mcproxy.manifest.search import search
from mcproxy.types import Json, JsonObject, ServerView, Tool, ToolRef

ABOVE = [folder / "shared" for folder in Path(__file__).resolve().parents[1:]]
SHARED = next((folder for folder in ABOVE if (folder / "eval").is_dir()), ABOVE[0])
LIVE = SHARED / "eval" / "livemcpbench"
ZERO = SHARED / "eval" / "mcp-zero" / "mcp_tools_cleaned.json"
CATALOGUE = SHARED / "catalog"
TOOLS_WANTED = 3_050  # some are listed twice
RANKS = (1, 5, 10)
REPEATS = 5  # a query's time is the median of these, so that a busy machine shows less


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the benchmark: its text, its steps, and (server, tool) of what solves it."""

    text: str
    steps: tuple[str, ...]
    gold: frozenset[tuple[str, str]]


def main() -> int:
    if not (LIVE.is_dir() and ZERO.is_file() and CATALOGUE.is_dir()):
        print(f"skipped: the catalogues are not there ({SHARED.name}/eval, {SHARED.name}/catalog)")
        return 0
    tasks = [read_task(cast("JsonObject", json.loads(line))) for line in lines(LIVE)]
    steps = [step for task in tasks for step in task.steps]
    small, large = build(live_servers()), build(large_catalogue())
    print_hits(small, tasks)
    print(f"\n{'tools':>6} {'queries':<8} {'p50 ms':>7} {'p95 ms':>7} {'tokens':>7} {'bytes':>7}")
    count_tokens = token_counter()
    for manifest in (small, large):
        for kind, queries in (("steps", steps), ("tasks", [task.text for task in tasks])):
            print_costs(manifest, kind, queries, count_tokens)
    print_index_time(large)
    return 0


def print_hits(manifest: Manifest, tasks: Sequence[Task]) -> None:
    """Share of queries with a tool of the task among the first k."""
    print(f"{'queries':<8} " + " ".join(f"{f'hit@{rank}':>7}" for rank in RANKS))
    kinds: dict[str, list[tuple[str, Task]]] = {
        "steps": [(step, task) for task in tasks for step in task.steps],
        "tasks": [(task.text, task) for task in tasks],
    }
    for kind, asked in kinds.items():
        firsts = [first_hit(manifest, query, task) for query, task in asked]
        rates = [sum(first <= rank for first in firsts) / len(firsts) for rank in RANKS]
        print(f"{kind:<8} " + " ".join(f"{rate:>7.1%}" for rate in rates))


def first_hit(manifest: Manifest, query: str, task: Task) -> int:
    """The rank of the first tool of the task, by score over all servers; large when absent."""
    rated = sorted(
        (-float(cast("float", tool["score"])), str(entry["server"]), str(tool["name"]))
        for entry in objects(search(manifest, query, namespace="bench")["results"])
        for tool in objects(entry["matched_tools"])
    )
    ranks = (at for at, (_, *ref) in enumerate(rated, 1) if tuple(ref) in task.gold)
    return next(ranks, sys.maxsize)


def print_costs(
    manifest: Manifest, kind: str, queries: Sequence[str], count_tokens: Callable[[str], int]
) -> None:
    """Time and size of replies with default depth and limit; percentiles are over queries."""
    times, tokens, sizes = [], [], []
    search(manifest, "warm", namespace="bench")
    for query in queries:
        spent = []
        for _ in range(REPEATS):
            begun = time.perf_counter()
            reply = search(manifest, query, namespace="bench")
            spent.append((time.perf_counter() - begun) * 1e3)
        times.append(statistics.median(spent))
        text = json.dumps(reply, ensure_ascii=False, separators=(",", ":"))
        tokens.append(count_tokens(text))
        sizes.append(len(text.encode()))
    p95 = statistics.quantiles(times, n=20)[-1]
    print(
        f"{manifest.tool_count:>6} {kind:<8} {statistics.median(times):>7.2f} {p95:>7.2f} "
        f"{statistics.median(tokens):>7.0f} {max(sizes):>7}"
    )


def print_index_time(manifest: Manifest) -> None:
    """What a start costs, and what one server's change costs."""
    views = list(manifest.servers.values())
    begun = time.perf_counter()
    whole = build(views)
    built = time.perf_counter()
    build([ServerView("new", "ready", "", views[0].tools), *views[1:]], whole)
    changed = time.perf_counter()
    _ = whole.lexicon
    merged = time.perf_counter()
    print(
        f"\nindex {whole.tool_count} tools: {(built - begun) * 1e3:.0f} ms; one server changed: "
        f"{(changed - built) * 1e3:.1f} ms; first search after a change: "
        f"{(merged - changed) * 1e3:.0f} ms more"
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
    gold = {
        (str(server), str(tool["tool"]))
        for tool in objects(record["gold"])
        for server in cast("list[Json]", tool["servers"])
    }
    steps = tuple(str(step) for step in cast("list[Json]", record["steps"]))
    return Task(str(record["query"]), steps, frozenset(gold))


def objects(value: Json) -> list[JsonObject]:
    """The objects of a JSON list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


if __name__ == "__main__":
    sys.exit(main())
