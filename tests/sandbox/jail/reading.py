"""A script's reading as a whole, for tests: in the worker's own words, with a gateway's answer."""

import ast
import warnings
from dataclasses import dataclass

import msgspec

from mcproxy.gateway.arguments import faults_of_written
from mcproxy.manifest.model import Manifest
from mcproxy.sandbox.jail.script.reading import Finding, findings, notes, refusal
from mcproxy.sandbox.jail.script.reading import read as read_tree


@dataclass(frozen=True, slots=True)
class Reading:
    """``error`` None: the script runs."""

    error: Finding | None
    notes: tuple[str, ...]


def read(source: str, manifest: Manifest) -> Reading:
    """Read a script for a namespace that has these tools; what does not parse passes."""

    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(source)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return Reading(None, ())
    names, calls = read_tree(source, tree)
    sent = msgspec.json.decode(msgspec.json.encode(calls))
    found = findings(names, faults_of_written(sent, manifest))
    error = refusal(found)
    return Reading(error, () if error else tuple(notes(found)))
