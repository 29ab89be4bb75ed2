"""A script's reading as a whole, for tests: in the worker's own words, with a gateway's answer."""

import ast
import warnings
from dataclasses import dataclass

import msgspec

from mcproxy.manifest.model import Manifest
from mcproxy.manifest.written_calls import faults_of_written
from mcproxy.sandbox.jail.script.reading import Finding, findings, notes, refusal
from mcproxy.types import Json


@dataclass(frozen=True, slots=True)
class Reading:
    """``error`` None: the script runs."""

    error: Finding | None
    notes: tuple[str, ...]


def read(source: str, manifest: Manifest) -> Reading:
    """Read a script for a namespace that has these tools; what does not parse passes."""

    def ask(uses: list[Json]) -> Json:
        sent = msgspec.json.encode(uses)
        return faults_of_written(msgspec.json.decode(sent), manifest)

    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(source)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return Reading(None, ())
    found = findings(source, tree, ask)
    error = refusal(found)
    return Reading(error, () if error else tuple(notes(found)))
