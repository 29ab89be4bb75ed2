"""Shell completion: a script for each shell that asks the program, and what the program answers.

Commands and options are those of the parser, servers those of the configuration, tools those that
were seen the last time (the state directory): a key press starts nothing.
"""

import argparse
import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

_BASH = """\
_mcproxy() {
    local IFS=$'\\n'
    COMPREPLY=($("${COMP_WORDS[0]}" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _mcproxy mcproxy
"""
_ZSH = """\
#compdef mcproxy
_mcproxy() {
    local -a found
    found=(${(f)"$("${words[1]}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    (( $#found )) && compadd -a found || _files
}
compdef _mcproxy mcproxy
"""
_FISH = """\
function __mcproxy_complete
    set -l words (commandline -opc) (commandline -ct)
    $words[1] complete -- $words[2..-1] 2>/dev/null
end
complete -c mcproxy -a '(__mcproxy_complete)'
"""
SCRIPTS: Mapping[str, str] = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


class Known(msgspec.Struct, frozen=True):
    """What words there are; each is looked up when it is needed."""

    servers: Callable[[], Iterable[str]]
    tools: Callable[[str], Iterable[str]]


def candidates(
    top: argparse.ArgumentParser,
    commands: Mapping[str, argparse.ArgumentParser],
    words: Sequence[str],
    known: Known,
) -> list[str]:
    """What the last of the words may become; none where it is a file or a value."""
    *before, last = words or [""]
    at = next((at for at, word in enumerate(before) if word in commands), None)
    if at is None:
        shown = [name for name, parser in commands.items() if parser.description]
        return _starting(last, [*shown, *options(top)] if last.startswith("-") else shown)
    parser = commands[before[at]]
    if last.startswith("-"):
        return _starting(last, options(parser))
    given = [word for word in before[at + 1 :] if not word.startswith("-")]
    places = [action for action in parser._actions if not action.option_strings]
    if len(given) >= len(places):
        return []
    return _starting(last, _values(places[len(given)], given, known, before[at]))


def options(parser: argparse.ArgumentParser) -> list[str]:
    """The options of a parser, long ones alone where there are both."""
    return [action.option_strings[-1] for action in parser._actions if action.option_strings]


def cached_tools(text: bytes) -> Iterator[str]:
    """The names of the tools in a file of the tools that were seen."""
    with contextlib.suppress(ValueError):
        document = json.loads(text)
        tools = document.get("tools", []) if isinstance(document, dict) else []
        yield from (
            str(tool["name"]) for tool in tools if isinstance(tool, dict) and "name" in tool
        )


def _values(
    place: argparse.Action, given: Sequence[str], known: Known, command: str
) -> Iterable[str]:
    if place.choices is not None:
        return [str(choice) for choice in place.choices]
    if place.dest == "server" or (place.dest == "name" and command in ("remove", "namespaces")):
        return known.servers()
    if place.dest == "tool":
        return known.tools(given[0])
    if place.dest == "client":
        return (place.help or "").partition(", or")[0].split(", ")
    return ()


def _starting(start: str, words: Iterable[str]) -> list[str]:
    return sorted({word for word in words if word.startswith(start)})
