"""docs/configuration.md has every key of the configuration, as it is, and no other key."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args, get_origin

import pytest
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from mcproxy.config.fields import Section
from mcproxy.config.model import Config
from mcproxy.types import Json

PAGE = (Path(__file__).parents[2] / "docs/configuration.md").read_text(encoding="utf-8")
REQUIRED = "required"
_CODE = re.compile(r"`([^`]+)`")
_STEPS: Mapping[object, str] = {tuple: "[]", Mapping: ".NAME"}
_HEADER = "| key | type | default |"


@dataclass(frozen=True, slots=True)
class Row:
    """What the page says of one key: its type with bounds or choices, and its default."""

    key: str
    type: str
    default: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of keys, and the paths in the heading above it; ``""`` is the top of the file."""

    paths: tuple[str, ...]
    rows: tuple[Row, ...]


def tables(page: str) -> Iterator[Table]:
    """The page's tables that tell of keys."""
    for part in re.split(r"^##+ ", page, flags=re.MULTILINE):
        heading, _, text = part.partition("\n")
        _, header, table = text.partition(_HEADER)
        if header:
            rows = [line for line in table.splitlines() if line.startswith("| `")]
            yield Table(tuple(_CODE.findall(heading)) or ("",), tuple(map(row_of, rows)))


def row_of(line: str) -> Row:
    key, kind, default = line.strip("| ").split(" | ")[:3]
    return Row(key.strip("`"), kind, default.strip("`"))


def sections(section: type[Section], path: str = "") -> Iterator[tuple[str, type[Section]]]:
    """The sections of the model, with the path of each: ``servers.NAME``, ``auth.tokens[]``."""
    yield path, section
    for key, field in section.model_fields.items():
        for step, inner in inner_sections(field.annotation):
            yield from sections(inner, f"{path}.{key}{step}".removeprefix("."))


def inner_sections(annotation: object, step: str = "") -> Iterator[tuple[str, type[Section]]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield step, annotation
    step += _STEPS.get(get_origin(annotation), "")
    for argument in get_args(annotation):
        yield from inner_sections(argument, step)


MODEL = dict(sections(Config))
TABLES = {table.paths: table.rows for table in tables(PAGE)}


def fields(section: type[Section]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in section.model_fields.items()}


KEYS = [
    pytest.param(section, row, id=f"{paths[0]}.{row.key}".strip("."))
    for paths, rows in TABLES.items()
    for section in [MODEL.get(paths[0])]
    for row in rows
    if section and row.key in fields(section)  # what is not is told by another test
]


@pytest.mark.requirement("config.reference")
def test_every_section_has_one_table() -> None:
    assert {path for paths in TABLES for path in paths} <= MODEL.keys()
    described = [{MODEL[path] for path in paths} for paths in TABLES]
    assert all(len(found) == 1 for found in described), "one table for unlike sections"
    assert Counter(one for [one] in described) == Counter(set(MODEL.values()))


@pytest.mark.requirement("config.reference")
@pytest.mark.parametrize("paths", TABLES, ids=lambda paths: paths[0] or "top")
def test_a_table_has_the_keys_of_its_section(paths: tuple[str, ...]) -> None:
    assert sorted(row.key for row in TABLES[paths]) == sorted(fields(MODEL[paths[0]]))


@pytest.mark.requirement("config.reference")
@pytest.mark.parametrize(("section", "row"), KEYS)
def test_a_key_has_its_default(section: type[Section], row: Row) -> None:
    field = fields(section)[row.key]
    if field.is_required():
        assert row.default == REQUIRED
    else:
        default = field.get_default(call_default_factory=True)
        assert json.loads(row.default) == TypeAdapter(object).dump_python(
            default, mode="json", exclude_defaults=True
        )


@pytest.mark.requirement("config.reference")
@pytest.mark.parametrize(("section", "row"), KEYS)
def test_a_key_has_its_bounds_and_choices(section: type[Section], row: Row) -> None:
    properties = section.model_json_schema()["properties"]
    bounds, choices = set(), set()
    for schema in schemas(properties[row.key]):
        if schema.get("type") == "integer":
            bounds |= {str(schema[name]) for name in ("minimum", "maximum")}
        listed = schema.get("enum")
        choices |= set(map(str, listed)) if isinstance(listed, list) else set()
        if schema.get("type") == "number":
            assert ("pause" if "minimum" in schema else "seconds") in row.type
    assert set(re.findall(r"\d+", row.type.replace(",", ""))) >= bounds
    assert set(_CODE.findall(row.type)) == choices


def schemas(schema: Json) -> Iterator[dict[str, Json]]:
    """The schema and those inside it, other sections left out."""
    inner: list[Json] = schema if isinstance(schema, list) else []
    if isinstance(schema, dict):
        yield schema
        inner = [value for key, value in schema.items() if key != "default"]
    for each in inner:
        yield from schemas(each)
