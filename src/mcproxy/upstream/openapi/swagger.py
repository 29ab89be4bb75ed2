"""Operations of version 2 (Swagger) in the shape of version 3, so that nothing else need know it:
bodies and forms are parameters there, and schemas stand beside media types. Pure."""

from collections.abc import Mapping

from mcproxy.types import Json, JsonObject
from mcproxy.upstream.openapi.document import Document, listed, objects, text

_ABOUT = frozenset({"name", "in", "required", "description", "collectionFormat"})
_FORM = "application/x-www-form-urlencoded"
_STYLES: Mapping[str, tuple[str, bool]] = {
    "multi": ("form", True),
    "ssv": ("spaceDelimited", False),
    "pipes": ("pipeDelimited", False),
}


def modern(said: JsonObject, document: Document) -> JsonObject:
    """The operation as version 3 would say it. Raises Unusable."""
    parameters: list[Json] = []
    form: dict[str, JsonObject] = {}
    body: JsonObject | None = None
    consumes = _media(said, document, "consumes")
    for each in listed(said.get("parameters")):
        one = document.object(each)
        place = text(one.get("in"))
        if place == "body":
            content: JsonObject = {media: {"schema": one.get("schema") or {}} for media in consumes}
            body = {
                **one,
                "content": content or {"application/json": {"schema": one.get("schema")}},
            }
        elif place == "formData":
            form[text(one.get("name"))] = one
        else:
            style, explode = _STYLES.get(text(one.get("collectionFormat")), ("", False))
            shape: JsonObject = {"style": style, "explode": explode, "schema": _schema(one)}
            parameters.append({key: one[key] for key in _ABOUT if key in one} | shape)
    if form:
        body = _form_body(form, consumes)
    return {
        **said,
        "parameters": parameters,
        "responses": _responses(said, document),
        **({"requestBody": body} if body else {}),
    }


def _form_body(form: Mapping[str, JsonObject], consumes: list[str]) -> JsonObject:
    has_files = any(one.get("type") == "file" for one in form.values())
    usual = "multipart/form-data" if has_files else _FORM
    media = usual if usual in consumes or not consumes else consumes[0]
    required: list[Json] = [name for name, one in form.items() if one.get("required") is True]
    schema: JsonObject = {
        "type": "object",
        "properties": {
            name: {**_schema(one), "description": text(one.get("description"))}
            for name, one in form.items()
        },
        "required": required,
    }
    return {"content": {media: {"schema": schema}}, "required": bool(required)}


def _schema(parameter: JsonObject) -> JsonObject:
    return {key: value for key, value in parameter.items() if key not in _ABOUT}


def _responses(said: JsonObject, document: Document) -> JsonObject:
    produces = _media(said, document, "produces") or ["application/json"]
    made: JsonObject = {}
    for code, response in objects(said.get("responses")).items():
        found = document.object(response)
        if "schema" in found:
            made[code] = {"content": {media: {"schema": found["schema"]} for media in produces}}
        else:
            made[code] = {}
    return made


def _media(said: JsonObject, document: Document, key: str) -> list[str]:
    return [text(media) for media in listed(said.get(key, document.root.get(key))) if text(media)]
