"""A script's reading as a whole: everything that is wrong with it, at once. Pure.

Bounded whatever the script: its text is (``execute`` takes 50 KiB), and so are the nodes that are
looked at, the steps behind a name, the turns of a loop and what is told. What does not parse
passes: its run reports the error with its line.
"""

import ast
import itertools
import re
import warnings
from dataclasses import dataclass, replace

from mcproxy.manifest.model import Manifest
from mcproxy.preflight.blocked import MODULES, blocked
from mcproxy.preflight.finding import Finding
from mcproxy.preflight.outline import Outline, outline
from mcproxy.preflight.tool_findings import MAX_FINDINGS, findings
from mcproxy.preflight.tool_uses import tool_uses
from mcproxy.types import ScriptError

# Without any of these words there is nothing to be found.
_WORDS = re.compile(rf"\b(?:api|os|{'|'.join(MODULES)})\b")


@dataclass(frozen=True, slots=True)
class Reading:
    """``error`` None: nothing is sure to fail; ``notes`` tell of what may. ``summary`` is for logs:
    without what the script has written."""

    error: ScriptError | None = None
    notes: tuple[str, ...] = ()
    summary: str = ""


def read(source: str, manifest: Manifest) -> Reading:
    """Read a script for a namespace that has these tools."""
    if not _WORDS.search(source):
        return Reading()
    try:
        with warnings.catch_warnings(action="ignore"):  # of the script's text: not for our stderr
            whole = outline(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Reading()
    names = blocked(whole.named)
    calls = _of_tools(whole, manifest)
    summary = "; ".join([*(one.message for one in names[:MAX_FINDINGS]), *_counted(calls)])
    return replace(_reading(sorted({*names, *calls})), summary=summary)


def _counted(calls: list[Finding]) -> list[str]:
    return [f"{len(calls)} call(s) of tools that cannot work"] if calls else []


def _of_tools(whole: Outline, manifest: Manifest) -> list[Finding]:
    if whole.opaque:
        return []
    uses = tool_uses(whole, frozenset(manifest.parts))
    found = (finding for use in uses for finding in findings(use, manifest))
    return list(itertools.islice(found, MAX_FINDINGS))


def _reading(found: list[Finding]) -> Reading:
    if not any(finding.certain for finding in found):
        return Reading(notes=tuple(f"line {one.line}: {_told(one)}" for one in found))
    if len(found) == 1:
        only = found[0]
        return Reading(ScriptError("CheckError", only.message, only.line, only.advice or None))
    lines = "\n".join(f"line {one.line}: {_told(one)}" for one in found[:MAX_FINDINGS])
    first = next(one for one in found if one.certain)
    return Reading(ScriptError("CheckError", f"Nothing was run or sent.\n{lines}", first.line))


def _told(finding: Finding) -> str:
    return f"{finding.message} {finding.advice}".rstrip()
