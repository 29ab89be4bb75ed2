"""A gateway before servers whose tools a test writes, and which write down what is called."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import SERVERS, Running, gateway


@dataclass(frozen=True, slots=True)
class Shelf:
    """One such server; ``tools`` are its definitions."""

    directory: Path
    name: str = "hub"

    def write(
        self,
        tools: Sequence[JsonObject],
        instructions: str = "Things.",
        prompts: Sequence[JsonObject] | None = None,
    ) -> None:
        """What it has from now on; prompts at all, if it began with any."""
        has: JsonObject = {} if prompts is None else {"prompts": list(prompts)}
        text = json.dumps({"tools": list(tools), "instructions": instructions, **has})
        (self.directory / f"{self.name}.tools").write_text(text)

    def definition(self, **more: Json) -> JsonObject:
        """Its entry in the configuration."""
        files = [str(self.directory / f"{self.name}.{kind}") for kind in ("tools", "asked")]
        return {"command": sys.executable, "args": [str(SERVERS / "shelf.py"), *files], **more}

    def asked(self) -> list[tuple[str, Json]]:
        """The calls that came, each with its arguments."""
        file = self.directory / f"{self.name}.asked"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(name, arguments) for name, arguments in map(json.loads, lines)]


def a_tool(name: str, description: str = "", **more: Json) -> JsonObject:
    """A definition that takes anything."""
    schema: JsonObject = {"type": "object", "additionalProperties": True}
    return {"name": name, "description": description or name, "inputSchema": schema, **more}


@contextmanager
def shelved(
    directory: Path,
    tools: Sequence[JsonObject],
    own: Mapping[str, Json],
    others: Sequence[Shelf] = (),
    **config: Json,
) -> Iterator[tuple[Running, Shelf]]:
    """A gateway before the server ``hub``, to whose definition ``own`` is added, and ``others``."""
    hub = Shelf(directory)
    hub.write(tools)
    servers: JsonObject = {"hub": hub.definition(**own)}
    servers |= {other.name: other.definition() for other in others}
    document: JsonObject = {"servers": servers, **config}
    document.setdefault("sandbox", {"min_level": "none"})
    with gateway(directory, document) as running:
        yield running, hub
