"""Descriptions of APIs, real ones and small ones, for tests."""

import json
import lzma
from collections.abc import Mapping
from pathlib import Path

from mcproxy.types import Json, JsonObject
from mcproxy.upstream.openapi.document import Document
from mcproxy.upstream.openapi.operations import OperationChoice, Operations, operations_of

FILES = Path(__file__).parent / "descriptions"
PETSTORES = ("petstore-2.0.json", "petstore-3.0.yaml", "petstore-3.1.json")


def github() -> bytes:
    """GitHub's own description, 1,223 operations in 13 MB."""
    return lzma.decompress((FILES / "github.json.xz").read_bytes())


def description(paths: Mapping[str, Json], **more: Json) -> JsonObject:
    """A small one."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Small", "version": "1"},
        "servers": [{"url": "/v1"}],
        "paths": {**paths},
        **more,
    }


def written(folder: Path, document: JsonObject) -> str:
    """The path of a file with this description."""
    path = folder / "openapi.json"
    path.write_text(json.dumps(document))
    return str(path)


def operations(document: JsonObject, choice: OperationChoice | None = None) -> Operations:
    """What it offers."""
    return operations_of(Document(document), choice or OperationChoice())


def one(path: str, **operation: Json) -> JsonObject:
    """A description with one operation, ``op``, by POST."""
    return description({path: {"post": {"operationId": "op", **operation}}})
