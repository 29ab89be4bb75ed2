"""Names of tools: which one a script means, and the line of Python that calls it.

Owns the equality of name forms (``repos.list`` = ``repos_list`` = ``repos-list`` = ``reposList``)
and the written form of a call. Knows no manifest; names come in, names go out.
"""

import json
import keyword
import re
from collections.abc import Iterable, Mapping

import msgspec

from mcproxy.manifest.parameters import properties, required
from mcproxy.manifest.text import snake
from mcproxy.types import Tool

# A line with more parameters is no longer read; required ones come first and may be more.
MAX_PARAMETERS_SHOWN, MAX_REQUIRED_SHOWN = 8, 20

_json = json.JSONEncoder(ensure_ascii=False).encode
AWAIT = "await "

MAX_ASKED_CHARS = 1000  # of a name; real ones have 128 at most, and a few signs more

Forms = Mapping[str, tuple[str, ...]]


class Ambiguous(msgspec.Struct, frozen=True):
    """Several tools have this name in one form or another; only the exact name tells them apart."""

    names: tuple[str, ...]


def name_forms(names: Iterable[str]) -> Forms:
    """The names by the form that all their spellings share; what ``resolve`` looks up. A name
    stands under its letters alone too, where no other has the same: where a word ends is not seen
    in every spelling (``get36krTrending`` for ``get-36kr-trending``)."""
    forms: dict[str, tuple[str, ...]] = {}
    for name in names:
        form = snake(name)
        forms[form] = (*forms.get(form, ()), name)
    joined: dict[str, tuple[str, ...]] = {}
    for form, alike in forms.items():
        joined[form.replace("_", "")] = (*joined.get(form.replace("_", ""), ()), *alike)
    alone = {form: alike for form, alike in joined.items() if len(alike) == 1}
    return alone | forms


def forms_of(asked: str) -> tuple[str, ...]:
    """The keys of ``name_forms`` under which the name asked for may stand, the likeliest first."""
    form = snake(asked)
    return tuple(dict.fromkeys((form, form.replace("_", ""))))


def resolve(forms: Forms, asked: str) -> str | Ambiguous | None:
    """The name that ``asked`` stands for: itself if it exists, else the one of the same form.

    No tool has a very long one: to find its form would take the gateway's time.
    """
    if len(asked) > MAX_ASKED_CHARS:
        return None
    for form in forms_of(asked):
        names = forms.get(form, ())
        if asked in names:
            return asked
        if names and form:  # a name of signs alone has no other form
            return names[0] if len(names) == 1 else Ambiguous(names)
    return None


def call_line(tool: Tool) -> str:
    """The line of Python that calls the tool: ``?`` marks parameters that may be left out.

    ``await api.server("github").list_repos(owner, per_page?)``
    """
    schema = tool.definition.get("inputSchema")
    demanded = required(schema)
    declared = list(dict.fromkeys([*properties(schema), *sorted(demanded)]))
    first = [name for name in declared if name in demanded]
    others = [name for name in declared if name not in demanded]
    most = max(MAX_PARAMETERS_SHOWN, min(len(first), MAX_REQUIRED_SHOWN))
    shown = (first + others)[:most]
    as_keywords = all(_is_word(name) for name in shown)
    listed = [
        f"{name if as_keywords else _quoted(name)}{'' if name in demanded else '?'}"
        for name in shown
    ]
    if len(shown) < len(declared):
        listed.append("…")
    arguments = ", ".join(listed)
    return (
        f"{AWAIT}{server_call(tool.ref.server)}{attribute(tool.ref.tool)}"
        f"({arguments if as_keywords else f'{{{arguments}}}'})"
    )


def plain_call(tool: Tool) -> str:
    """The same as a line for who writes no Python: ``github: create_issue(repo, title, labels?)``,
    the server's name, the tool's, and its arguments by name."""
    server, name = tool.ref.server, tool.ref.tool
    return f"{server}: {plain_form(call_line(tool), server, name)}"


def plain_form(call: str, server: str, tool: str) -> str:
    """The tool and its arguments, without Python, of a line that calls it."""
    return f"{tool}{below_server(call, server).removeprefix(attribute(tool))}"


def below_server(call: str, server: str) -> str:
    """What follows the server's name in a line that calls a tool of it."""
    return call.removeprefix(AWAIT).removeprefix(server_call(server))


def server_call(server: str) -> str:
    """How a script names a server; what each call of a tool of it begins with."""
    return f"api.server({_quoted(server)})"


def attribute(name: str) -> str:
    """``.repos.list`` where that is Python and cannot be mistaken, else ``["odd name"]``."""
    plain = all(_is_word(part) and not part.startswith("_") for part in name.split("."))
    return f".{name}" if plain else f"[{_quoted(name)}]"


def _is_word(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) is not None and not keyword.iskeyword(name)


def _quoted(text: str) -> str:
    return _json(text)
