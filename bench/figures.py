"""What README and documentation say in figures, each claim with its command."""

from collections.abc import Callable, Mapping

from bench.data import Cell, Part, Parts, Table, grid, words

SHOWN_SERVERS = 2  # the row of the table of lists that README tells: no more than many use
OURS = "MCProxy"
CODE_MODE = "fastmcp code mode (Monty)"


def pitch(parts: Parts) -> str:
    """What it is for, in figures."""
    lists = parts["tokens"].table("lists")
    tools, direct, ours = _row(lists, SHOWN_SERVERS)[1:4]
    servers, most, _, all_ours = lists.rows[-1][:4]
    return (
        f"The {words(tools)} tools of {SHOWN_SERVERS} real servers cost a model {words(direct)} "
        f"tokens before any work begins; behind\nMCProxy they cost {words(ours)}, and the "
        f"{words(most)} of {words(servers)} servers {words(all_ours)}"
    )


def front(parts: Parts) -> str:
    """The same in README."""
    return f"{pitch(parts)} ([measured](bench/RESULTS.md), as are all figures here)."


def home(parts: Parts) -> str:
    """The same where links lead to pages only."""
    part = parts["tokens"]
    return (
        f"{pitch(parts)}. Measured by `{part.command}`, {part.date}; `bench/RESULTS.md` has all\n"
        "numbers, beside programs of others, and says how each was made."
    )


def readme(parts: Parts) -> str:
    """What was measured, a line each."""
    return "\n".join(
        (
            _said(_tokens(parts["tokens"]), parts["tokens"]),
            _said(_search(parts["search"]), parts["search"]),
            _said(_calls(parts["peers"]), parts["peers"]),
            _said(_start(parts["start"]), parts["start"]),
            _said(_soak(parts["soak"]), parts["soak"]),
        )
    )


def _said(claim: str, part: Part) -> str:
    return f"- {claim} `{part.command}`, {part.date}"


def _tokens(part: Part) -> str:
    flows, even = part.table("flows"), part.table("break_even")
    way = "MCProxy: searches, then one script"
    direct = words(flows.cell("direct MCP, all calls in one turn", "context in the end"))
    least = words(even.cell("one call is made: input over its turns", "tools of median size"))
    return (
        f"**Tokens**: a task of LiveMCPBench ends with a context of "
        f"{words(flows.cell(way, 'context in the end'))} tokens instead of {direct} (scripted, no "
        f"model); below some {least} tools direct mode is the cheaper one."
    )


def _search(part: Part) -> str:
    shares = part.table("requests")
    held, asked = (shares.cell("not looked at", column) for column in ("shown", "asked"))
    return (
        f"**Search**: of {words(asked)} requests in people's own words, one search shows a right "
        f"tool for {words(held)}, in about {_mean_tokens(part)} tokens."
    )


def _mean_tokens(part: Part) -> str:
    costs = part.table("costs")
    return words(round(float(str(costs.column("tokens of a reply, mean")[0])), -1))


def _calls(part: Part) -> str:
    calls, scripts = part.table("calls"), part.table("scripts")
    [rate] = [name for name in calls.columns if name.startswith("calls a second")]
    beside = [
        f"{words(row[1])} ms through {row[0]}"
        for row in calls.rows
        if row[0] in ("mcp-proxy", "fastmcp run (proxy)")
    ]
    script, code_mode = (
        words(next(row[2] for row in scripts.rows if row[:2] == ("1 call", name)))
        for name in (OURS, CODE_MODE)
    )
    return (
        f"**Calls**: {words(calls.cell(OURS, 'p50 ms'))} ms each ({', '.join(beside)}), "
        f"{words(calls.cell(OURS, rate))} a second; a script with one call {script} ms "
        f"({code_mode} in fastmcp's code mode)."
    )


def _start(part: Part) -> str:
    start = part.table("start")
    most = max(row[0] for row in start.rows if isinstance(row[0], int))
    alone, beside = (words(start.cell(size, "memory idle, MiB")) for size in (0, most))
    return (
        f"**Start**: answers after {words(start.cell(0, 'first answer, s'))} s, has all tools of "
        f"{most} servers after {words(start.cell(most, 'all tools there, s'))} s; memory "
        f"{alone} and {beside} MiB, the servers' own apart."
    )


def _soak(part: Part) -> str:
    soak = part.table("soak")
    kept = [row[0] for row in soak.rows[:2] if row[1] == row[2]]
    same = "as many processes and descriptors as before" if len(kept) == 2 else "NOT the same"
    return f"**Soak**: after {_done(soak)} {same}."


def soak(parts: Parts) -> str:
    """The table of the soak, with what was done."""
    table = parts["soak"].table("soak")
    return f"{grid(table)}\n\n{table.note} `{parts['soak'].command}`, {parts['soak'].date}."


def _search_table(name: str) -> Callable[[Parts], str]:
    """A table of what search finds, with what it is of."""

    def table(parts: Parts) -> str:
        part = parts["search"]
        found = part.table(name)
        return f"{grid(found)}\n\n{found.note} `{part.command}`, {part.date}."

    return table


def _done(table: Table) -> str:
    calls, crashes, reloads = table.note.partition(":")[0].split(", ")
    return f"{crashes}, {calls} and {reloads}"


def _row(table: Table, first: Cell) -> tuple[Cell, ...]:
    [found] = [row for row in table.rows if row[0] == first]
    return found


FIGURES: Mapping[str, tuple[Callable[[Parts], str], frozenset[str]]] = {
    "pitch": (front, frozenset({"tokens"})),
    "home": (home, frozenset({"tokens"})),
    "readme": (readme, frozenset({"tokens", "search", "peers", "start", "soak"})),
    "soak": (soak, frozenset({"soak"})),
    **{
        f"search_{name}": (_search_table(name), frozenset({"search"}))
        for name in ("recall", "requests", "costs", "ablation")
    },
}
"""What stands in a page, by the name of its block, with the parts that it needs."""
