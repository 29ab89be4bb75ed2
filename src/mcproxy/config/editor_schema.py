"""The JSON Schema of the configuration, for editors.

The model's own schema knows neither comments nor ``${VAR}``, which are taken care of before the
model sees a document; they are added here. Apart from the model: a start does not need it.
"""

from mcproxy.config.model import Config
from mcproxy.types import Json, JsonObject

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE: JsonObject = {"type": "string", "pattern": r"\$\{"}
_ABOUT = ("title", "description", "default")
_SCALARS = ("number", "integer", "boolean")


def json_schema() -> JsonObject:
    """The schema of a v2 file, JSON Schema 2020-12."""
    schema: JsonObject = Config.model_json_schema()
    relaxed = {key: _relaxed(value) for key, value in schema.items()}
    return {"$schema": DIALECT, **_with_comments(relaxed)}


def _relaxed(schema: Json) -> Json:
    """Allow comment keys in objects, and variables in place of numbers and booleans."""
    if isinstance(schema, list):
        return [_relaxed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner: JsonObject = {key: _relaxed(value) for key, value in schema.items()}
    if inner.get("type") == "object":
        return _with_comments(inner)
    if inner.get("type") in _SCALARS:
        return _or_variable(inner)
    return inner


def _or_variable(schema: JsonObject) -> JsonObject:
    about: JsonObject = {key: value for key, value in schema.items() if key in _ABOUT}
    kind: JsonObject = {key: value for key, value in schema.items() if key not in _ABOUT}
    return {**about, "anyOf": [kind, _VARIABLE]}


def _with_comments(schema: JsonObject) -> JsonObject:
    patterns = schema.get("patternProperties")
    named = patterns if isinstance(patterns, dict) else {}
    # "_" cannot begin a name, so the two patterns never meet.
    return {**schema, "patternProperties": {**named, "^_": {}}}
