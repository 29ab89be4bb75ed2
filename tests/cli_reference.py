"""The reference of the command line in docs/cli.md, made from the parser.

``python -m tests.cli_reference`` writes it there.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from mcproxy.cli import parser
from mcproxy.subcommands import Parsers

PAGE = Path(__file__).parents[1] / "docs/cli.md"
_REFERENCE = re.compile(r"(?<=<!-- made from the parser -->\n).*(?=<!-- end -->)", re.DOTALL)


def reference() -> str:
    """The commands with their arguments, as Markdown."""
    parsers: Parsers = parser().get_default("parsers")
    shown = [each for each in parsers.commands.items() if each[1].description]
    return "\n" + "".join(line for name, each in shown for line in _command(name, each)) + "\n"


def _command(name: str, command: argparse.ArgumentParser) -> Iterator[str]:
    yield f"### {name}\n\n{command.description}.\n\n"
    rows = [row for action in command._actions if (row := _row(action))]
    if rows:
        yield "| argument | meaning |\n|---|---|\n" + "".join(rows) + "\n"


def _row(action: argparse.Action) -> str:
    if action.dest in ("help", "config", "words"):
        return ""
    value = str(action.metavar or "").replace("|", "\\|")
    value = value or ("" if action.nargs == 0 else action.dest.upper())
    names = ", ".join(action.option_strings)
    about = (action.help or "").replace("%(default)s", str(action.default))
    choices = f" ({', '.join(map(str, action.choices))})" if action.choices else ""
    return f"| `{f'{names} {value}'.strip()}` | {about}{choices} |\n"


def page(text: str) -> str:
    """The page with the reference of now."""
    return _REFERENCE.sub(lambda _: reference(), text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
