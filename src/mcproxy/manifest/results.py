"""What a tool gives back, as a script gets it. Pure.

Structured content has to be an object (MCP, server/tools), so that frameworks put a value of any
other type into one with the single member ``result``. A script gets the value itself; so what it is
told of the tool's result is the schema of the value.
"""

from collections.abc import Mapping

from mcproxy.manifest.parameters import properties
from mcproxy.types import Json, JsonObject, Wrapping

_WRAPPED = "x-fastmcp-wrap-result"
_DEFINITIONS = ("$defs", "definitions")


def wrapping(schema: Json) -> Wrapping:
    """Whether results with this output schema are wrapped: ``always`` where the schema says so,
    ``perhaps`` where it has no other property than ``result``."""
    if not isinstance(schema, dict) or properties(schema).keys() != {"result"}:
        return "never"
    return "always" if schema.get(_WRAPPED) is True else "perhaps"


def value_schema(schema: Json) -> Json:
    """The schema of the value that a script gets for results with this output schema.

    The official SDK leaves out the mark, but calls the wrapping of the function ``f`` ``fOutput``.
    """
    kind = wrapping(schema)
    if kind == "never" or not isinstance(schema, dict):
        return schema
    if kind == "perhaps" and not str(schema.get("title", "")).endswith("Output"):
        return schema
    inner = properties(schema)["result"]
    if not isinstance(inner, dict):
        return inner
    kept: JsonObject = {key: schema[key] for key in _DEFINITIONS if key in schema}
    return {**inner, **kept}


def for_script(definition: Mapping[str, Json]) -> JsonObject:
    """A tool's definition as it is told to whoever writes scripts."""
    told = dict(definition)
    if "outputSchema" in told:
        told["outputSchema"] = value_schema(told["outputSchema"])
    return told
