"""``api``: what a script has of the world outside.

Every callable here has two sides: called, it blocks and gives the real value; ``styles`` knows the
other, which sends the call at once and gives a ``Promise``. Which side a script means is decided by
``rewrite``. A tool's parameter may have any name, so what passes keywords on has none of its own.
Names are passed on as written: the gateway finds the tool that is meant, and checks everything.
"""

import asyncio
import json
import re
from collections.abc import (
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
)

from mcproxy.sandbox.jail.script.promise import Calls, Promise, ToolError
from mcproxy.sandbox.jail.script.stash import Stash
from mcproxy.sandbox.jail.script.styles import Dual, awaited, gathered
from mcproxy.sandbox.jail.script.value import Json, to_json

_CALL_TOOL = (
    'write api.call_tool("SERVER", "TOOL", {"name": value}): '
    "server and tool are two texts, the arguments one dict"
)
_NOT_THERE = ("unknown_server", "unknown_tool")
_OWN_NAMES = ("server", "tool", "arguments")
_CALLERS = ("call_tool", "call", "invoke")  # of no tool: the first argument names it
_SCHEMA = "api.schema(server, tool) lists the names."
OFFERED = (
    "server",
    "call_tool",
    "parallel",
    "search",
    "schema",
    "read_resource",
    "result",
    "manifest",
    "stash",
)


class Path(Dual):
    """A tool by its attributes (``api.server("github").repos.list``); a call joins them by dots."""

    def __init__(self, api: "Api", server: str, names: tuple[str, ...] = ()) -> None:
        shown = f"api.server({server!r})" + "".join(f".{name}" for name in names)
        super().__init__(shown, self._start, api.wait)
        self._api, self._server, self._names = api, server, names

    def __getattr__(self, name: str) -> "Path":
        if name.startswith("__"):
            raise AttributeError(name)  # Python asks for protocols that a tool does not have
        return Path(self._api, self._server, (*self._names, name))

    def __getitem__(self, name: str) -> "Path":
        return Path(self._api, self._server, (*self._names, name))

    def __dir__(self) -> list[str]:
        return [] if self._names else self._api.tools(self._server)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools())

    def __len__(self) -> int:
        return len(self._tools())

    def __bool__(self) -> bool:
        return True

    def __contains__(self, name: str) -> bool:
        return _form(name) in map(_form, self._tools())

    def _is_tool(self) -> bool:
        return bool(self._names)

    def __enter__(self) -> "Path":
        return self

    def __exit__(self, *_: object) -> None: ...

    async def __aenter__(self) -> "Path":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def _tools(self) -> list[str]:
        if self._names:
            raise TypeError(f"{self.__name__} was not called: write {self.__name__}(...)")
        return self._api.listed(self._server)

    def _start(self, /, *args: object, **kwargs: object) -> Promise:
        if not self._names:
            raise TypeError(f"{self.__name__} is a server; call one of its tools: .TOOL(...)")
        tool = ".".join(self._names)
        if tool in _CALLERS and args and isinstance(args[0], str):
            meant = Path(self._api, self._server, (args[0],))
            return meant._start(*args[1:], **kwargs)
        return self._api.call(self._server, tool, self._arguments(args, kwargs))

    def _arguments(
        self, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> dict[str, object]:
        if not args:
            return dict(kwargs)
        if len(args) == 1 and isinstance(args[0], Mapping):
            return {**args[0], **kwargs}
        names = self._api.parameters(self._server, ".".join(self._names))
        needed = [name for name in names if not name.endswith("?")]
        if len(args) == len(needed) == 1 and needed[0] not in kwargs:
            return {needed[0]: args[0], **kwargs}  # there is but one that it can be
        listed = f"Its parameters: {', '.join(names)}." if names else _SCHEMA
        raise TypeError(
            f"{self.__name__} takes its arguments by name, or one dict of them; "
            f"got {len(args)} positional. {listed}"
        )


class Api:
    """One script's ``api``. The limits are the sizes of a call's arguments, and of a value that it
    keeps, in bytes; ``note`` takes what is to be said about converted ones."""

    ToolError = ToolError

    def __init__(
        self,
        calls: Calls,
        manifest: bytes,
        limit: int,
        kept_limit: int,
        note: Callable[[list[str]], None],
    ) -> None:
        self._calls, self._manifest, self._limit, self._note = calls, manifest, limit, note
        self._known: dict[str, Json] | None = None
        self._kept_limit = kept_limit
        self.result = Dual("api.result", self._result, self.wait)
        self.call_tool = Dual("api.call_tool", self._call_tool, self.wait)
        self.search = Dual("api.search", self._search, self.wait)
        self.schema = Dual("api.schema", self._schema, self.wait)
        self.read_resource = Dual("api.read_resource", self._read_resource, self.wait)
        self.parallel = Dual("api.parallel", self._parallel, self.wait)

    def manifest(self) -> Json:
        """The servers and tools within reach; each call gives a copy of its own."""
        manifest: Json = json.loads(self._manifest)
        return manifest

    @property
    def stash(self) -> Stash:
        """What scripts of this session keep by name."""
        return Stash(self._calls, self._kept_limit, self._note)

    def server(self, name: str) -> Path:
        """One server; its attributes are its tools."""
        if not isinstance(name, str):
            raise TypeError(f"api.server takes a server's name, not {type(name).__name__}")
        return Path(self, name)

    def __getattr__(self, name: str) -> Path:
        if not name.startswith("_") and self._find(name):
            return Path(self, name)
        raise AttributeError(
            f"api has no {name!r}. It has {', '.join(OFFERED)}; "
            f"a tool is api.server('SERVER').TOOL(...)."
        )

    def __dir__(self) -> list[str]:
        return [*OFFERED, *self._servers()]

    def __repr__(self) -> str:
        return f"<api: {', '.join(OFFERED)}; a tool is api.server('SERVER').TOOL(name=value)>"

    def __getitem__(self, name: str) -> Path:
        return self.server(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._servers())

    def __len__(self) -> int:
        return len(self._servers())

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def listed(self, server: str) -> list[str]:
        """The names of a server's tools. Raises ``ToolError`` where there is no such server."""
        name = self._find(server)
        if name is None:
            known = ", ".join(self._servers())
            text = f"There is no server {server!r}. Servers: {known}."
            raise ToolError(text, server=server, code="unknown_server")
        return self.tools(name)

    def tools(self, server: str) -> list[str]:
        """The names of a server's tools; none where there is no such server."""
        described = self._servers().get(self._find(server) or server)
        tools = described.get("tools") if isinstance(described, dict) else None
        return [str(tool) for tool in tools] if isinstance(tools, list) else []

    def _find(self, name: str) -> str | None:
        """The server of this name, in whatever form it is written."""
        servers = self._servers()
        if name in servers:
            return name
        alike = [known for known in servers if _form(known) == _form(name)]
        return alike[0] if len(alike) == 1 else None

    def parameters(self, server: str, tool: str) -> list[str]:
        """What a tool takes, the optional ones with a ``?``; asks the gateway, and blocks. Raises
        ``ToolError`` where there is no such tool."""
        try:
            definition = self._schema(server, tool).result()
        except ToolError as error:
            if error.code in _NOT_THERE:
                raise
            return []
        schema = definition.get("inputSchema") if isinstance(definition, dict) else None
        if not isinstance(schema, dict):
            return []
        required, properties = schema.get("required"), schema.get("properties")
        needed = required if isinstance(required, list) else []
        named = properties if isinstance(properties, dict) else {}
        return [
            name if name in needed and not _has_default(inner) else f"{name}?"
            for name, inner in named.items()
        ]

    def _servers(self) -> dict[str, Json]:
        if self._known is None:
            manifest = self.manifest()
            servers = manifest.get("servers") if isinstance(manifest, dict) else None
            self._known = servers if isinstance(servers, dict) else {}
        return self._known

    def wait(self, started: object) -> object:
        """The value of what ``start`` gave, or of anything else, by blocking."""
        if isinstance(started, Promise):
            return started.result()
        if asyncio.isfuture(started):
            return _result_of(started)
        return asyncio.run(_awaiting(started))

    def call(
        self, server: str, tool: str, arguments: Mapping[str, object], *, raw: bool = False
    ) -> Promise:
        """Send one call. Raises ``ToolError`` if the arguments are larger than their limit."""
        args, notes = to_json(arguments)
        self._note(notes)
        body = json.dumps(args, ensure_ascii=False, separators=(",", ":")).encode()
        if len(body) > self._limit:
            text = f"arguments of {server}.{tool}: {len(body)} bytes, the limit is {self._limit}"
            raise ToolError(text, server=server, tool=tool, code="too_large")
        return self._calls.start(server, tool, body, raw=raw)

    def _call_tool(self, /, *positional: object, raw: bool = False, **named: object) -> Promise:
        if len(positional) > len(_OWN_NAMES):
            raise TypeError(_CALL_TOOL)
        # What is not given by position may be given by name; a name beyond that is the tool's.
        own = dict(zip(_OWN_NAMES, positional, strict=False))
        own |= {name: named.pop(name) for name in _OWN_NAMES if name not in own and name in named}
        server, tool, given = (own.get(name) for name in _OWN_NAMES)
        if isinstance(server, str) and (tool is None or isinstance(tool, Mapping)):
            server, tool, given = self._split(server, tool if given is None else given)
        given = {} if given is None else _decoded(given)
        if not (isinstance(server, str) and isinstance(tool, str) and isinstance(given, Mapping)):
            raise TypeError(_CALL_TOOL)
        if not (server and tool):
            raise TypeError(_CALL_TOOL)
        return self.call(server, tool, {**given, **named}, raw=raw)

    def _split(self, name: str, given: object) -> tuple[str, str | None, object]:
        """Server and tool of one name for both: ``github__list_issues``, ``github.list_issues``."""
        name = name.removeprefix("mcp__")
        for found in re.finditer(r"__|[.:/]", name):
            server, tool = name[: found.start()], name[found.end() :]
            if tool and self._find(server):
                return server, tool, given
        return name, None, given

    def _search(self, query: str = "", /, **kwargs: object) -> Promise:
        return self.call("", "search", {"query": query, **kwargs}, raw=False)

    def _schema(self, server: str, tool: str) -> Promise:
        return self.call("", "schema", {"server": server, "tool": tool})

    def _read_resource(self, server: str, uri: str) -> Promise:
        return self.call("", "read_resource", {"server": server, "uri": uri})

    def _result(self, ref: str) -> Promise:
        return self.call("", "result", {"ref": ref})

    def _parallel(
        self, *items: object, return_exceptions: bool = False
    ) -> Coroutine[object, object, list[object]]:
        first = items[0] if len(items) == 1 else None
        if isinstance(first, Mapping):
            raise TypeError("api.parallel takes a list of calls, not a dict: pass its values()")
        if isinstance(first, Iterable) and not isinstance(first, Promise):
            items = tuple(first)
        return gathered(items, return_exceptions=return_exceptions)


def _decoded(given: object) -> object:
    """Arguments that were written as JSON text."""
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except ValueError:
        return given


def _form(name: str) -> str:
    """What all spellings of a name have in common."""
    return re.sub(r"[\W_]", "", name).lower()


def _has_default(schema: Json) -> bool:
    return isinstance(schema, dict) and "default" in schema


async def _awaiting(started: object) -> object:
    return await awaited(started)


def _result_of(future: "asyncio.Future[object]") -> object:
    loop = future.get_loop()
    if loop.is_running() and not future.done():
        raise RuntimeError(
            "await in a plain `def` cannot wait here for what runs beside it: write `async def`"
        )
    return loop.run_until_complete(future)
