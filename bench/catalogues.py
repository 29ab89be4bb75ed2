"""The catalogues of real servers, served again: their definitions, by
``tests/servers/catalogue.py``.

They are not part of this project. ``bench.search`` says where they are looked for; what the benches
make of them stays in ``bench/data``.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench import intents, search
from bench.client import Place
from bench.processes import SERVERS
from mcproxy.types import JsonObject
from tests.tokens import count

SEEN = ("name", "description", "inputSchema")  # what clients hand on to a model


def there() -> bool:
    """Whether they can be read."""
    return search.CATALOGUE.is_dir() and search.LIVE.is_dir()


def collected() -> dict[str, list[JsonObject]]:
    """The tools of collected servers, by the server's name."""
    return {
        path.stem: search.objects(json.loads(path.read_text(encoding="utf-8"))["tools"])
        for path in sorted(search.CATALOGUE.glob("*.json"))
    }


def live() -> dict[str, list[JsonObject]]:
    """The tools of LiveMCPBench, by the server's name."""
    entries = search.objects(json.loads((search.LIVE / "tools.json").read_text(encoding="utf-8")))
    return {
        slug(str(entry["name"])): [
            tool for group in search.groups(entry) for tool in search.objects(group["tools"])
        ]
        for entry in entries
    }


def requests() -> list[tuple[Sequence[str], str]]:
    """Requests that nobody looked at while search was made, after the tools that serve each."""
    lines = [line.split("\t") for line in intents.read(intents.FINAL)]
    return [(refs.split(), asked) for refs, asked in lines]


def slug(name: str) -> str:
    """A name that a configuration admits, with the same words."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def served(folder: Path, catalogues: Mapping[str, Iterable[JsonObject]]) -> JsonObject:
    """The configuration of a server for each, with its files in a folder."""
    servers: JsonObject = {}
    for name, tools in catalogues.items():
        path = folder / f"{name}.json"
        path.write_text(json.dumps(list(tools)), encoding="utf-8")
        program = str(SERVERS / "catalogue.py")
        servers[name] = {"command": sys.executable, "args": [program, str(path)]}
    return servers


def tokens(tools: Iterable[JsonObject]) -> int:
    """What a list of tools costs a model: name, description and parameters, as compact JSON."""
    seen = ({key: tool[key] for key in SEEN if key in tool} for tool in tools)
    return sum(count(f"{compact(tool)},") for tool in seen)  # one by one: the tokenizer has a limit


async def shown_tokens(place: Place) -> int:
    """What a program shows a model before any work: its instructions and its tools."""
    session = await place.connect()
    shown = await session.tools()
    session.close()
    return tokens(shown) + count(str(session.welcome.get("instructions", "")))


def compact(value: JsonObject) -> str:
    """As JSON, in the fewest characters."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
