"""The server ``notes`` as the official SDK's client sees it, over a real file."""

import re
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult, TextContent

from mcproxy.demo.note_store import default_path, open_store
from mcproxy.demo.notebook import MAX_BODY, MAX_TAGS, MAX_TITLE, Notebook
from mcproxy.demo.protocol import DemoToolError
from mcproxy.demo.schema import Json, JsonObject


def connect(database: Path, mode: str = "auto") -> Client:
    return Client(
        StdioServerParameters(
            command=sys.executable,
            args=["-P", "-m", "mcproxy.demo.notes"],
            env={"MCPROXY_NOTES_DB": str(database)},
        ),
        mode=mode,
    )


async def call(client: Client, tool: str, **arguments: object) -> JsonObject:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    structured: JsonObject = result.structured_content
    return structured


def words(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    assert result.is_error
    return block.text


@pytest.mark.requirement("demo.both_eras")
@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
async def test_a_note_lives_from_add_to_delete(mode: str, tmp_path: Path) -> None:
    async with connect(tmp_path / "notes.sqlite3", mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        added = await call(client, "add_note", title="Milk", body="buy", tags=["Shop", "#home"])
        changed = await call(client, "update_note", id=added["id"], body="buy 2", tags=["shop"])
        read = await call(client, "get_note", id=added["id"])
        tags = await call(client, "list_tags")
        listed = await call(client, "list_notes")
        deleted = await call(client, "delete_note", id=added["id"])
        left = await call(client, "list_notes")
    assert added["tags"] == ["home", "shop"]
    assert read == changed
    assert (read["title"], read["body"], read["tags"]) == ("Milk", "buy 2", ["shop"])
    assert tags == {"tags": [{"tag": "shop", "notes": 1}]}
    assert listed["total"] == 1
    assert deleted == {"id": added["id"], "title": "Milk"}
    assert left == {"notes": [], "total": 0}
    hints = {name: tool.annotations for name, tool in tools.items() if tool.annotations}
    assert [name for name, hint in hints.items() if hint.destructive_hint] == [
        "update_note",
        "delete_note",
    ]
    assert [name for name, hint in hints.items() if not hint.read_only_hint] == [
        "add_note",
        "update_note",
        "delete_note",
    ]


async def test_notes_outlive_the_server(tmp_path: Path) -> None:
    database = tmp_path / "new" / "folder" / "notes.sqlite3"
    async with connect(database) as client:
        await call(client, "add_note", title="kept")
    async with connect(database) as client:
        assert (await call(client, "get_note", id=1))["title"] == "kept"
        assert f"They are kept in {database}." in str(client.instructions)


@pytest.mark.parametrize("broken", ["a file as folder", "no database"])
async def test_without_a_usable_file_notes_are_in_memory(broken: str, tmp_path: Path) -> None:
    database = tmp_path / "notes.sqlite3"
    database.write_text("this is not a database, but a text of some length" * 100, "utf-8")
    path = database / "notes.sqlite3" if broken == "a file as folder" else database
    async with connect(path) as client:
        assert "They are lost when this server stops" in str(client.instructions)
        assert (await call(client, "add_note", title="brief"))["id"] == 1
    assert database.read_text("utf-8").startswith("this is not a database")


async def test_refusals_say_what_to_do(tmp_path: Path) -> None:
    rows: list[tuple[str, JsonObject, str]] = [
        (
            "get_note",
            {"id": 5},
            "There is no note 5. list_notes and search_notes give the ids of the 0 notes that "
            "there are.",
        ),
        ("update_note", {"id": 5}, "Nothing to change: give title, body or tags."),
        ("update_note", {"id": 5, "title": "x"}, "There is no note 5."),
        ("delete_note", {"id": 5}, "There is no note 5."),
        ("search_notes", {"query": " "}, "query has no words; list_notes lists every note."),
        ("add_note", {}, "title is missing (A short title.)"),
        (
            "add_note",
            {"title": "", "body": "x" * (MAX_BODY + 1)},
            "title must be at least 1 characters long, not 0; "
            "body must be at most 100000 characters long, not 100001",
        ),
        ("add_note", {"title": "x" * (MAX_TITLE + 1)}, "title must be at most 200 characters"),
        ("add_note", {"title": "x", "tags": ["t"] * (MAX_TAGS + 1)}, "tags must be at most 20"),
        ("add_note", {"title": "x", "tags": ["ok", 3]}, "tags[1] must be a string, not 3"),
        ("list_notes", {"order": "size"}, 'order must be one of "updated", "created", "title"'),
        ("list_notes", {"limit": 0}, "limit must be at least 1, not 0"),
        ("list_tags", {"tag": "x"}, "tag is not an argument; there are: none"),
        ("get_note", {"id": 10**40}, "id must be at most 1e+15, not 10000000"),
    ]
    async with connect(tmp_path / "notes.sqlite3") as client:
        results = [await client.call_tool(tool, arguments) for tool, arguments, _ in rows]
    for result, (_, _, wanted) in zip(results, rows, strict=True):
        assert words(result).startswith(wanted)


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    with open_store(":memory:") as store:
        yield Notebook(store)


def column(result: JsonObject, name: str) -> list[Json]:
    notes = result["notes"]
    assert isinstance(notes, list)
    return [note[name] for note in notes if isinstance(note, dict)]


def test_search_wants_every_word_and_puts_titles_first(notebook: Notebook) -> None:
    notebook.add_note("Recipes", "pancakes " * 50 + "need MILK and eggs " + "salt " * 50)
    notebook.add_note("Milk", "and eggs", ["shop"])
    notebook.add_note("Eggs only")
    found = notebook.search_notes("milk EGGS")
    assert found["total"] == 2
    assert column(found, "title") == ["Milk", "Recipes"]
    assert re.fullmatch("….*need MILK and eggs.*…", str(column(found, "excerpt")[1]))
    assert column(notebook.search_notes("eggs", tag="#Shop"), "title") == ["Milk"]
    assert column(notebook.search_notes("eggs", limit=1, offset=2), "title") == ["Recipes"]
    assert notebook.search_notes("100%")["total"] == 0


def test_list_orders_filters_and_pages(notebook: Notebook) -> None:
    notebook.add_note("b", tags=["x"])
    notebook.add_note("C")
    notebook.add_note("a", tags=["x", "y", "X"])
    by_title = notebook.list_notes(order="title")
    assert column(by_title, "title") == ["a", "b", "C"]
    assert column(notebook.list_notes(order="created"), "title") == ["a", "C", "b"]
    assert column(notebook.list_notes(order="title", limit=1, offset=1), "title") == ["b"]
    tagged = notebook.list_notes(order="title", tag="X", limit=1)
    assert (column(tagged, "title"), tagged["total"]) == (["a"], 2)
    assert notebook.list_tags() == {"tags": [{"tag": "x", "notes": 2}, {"tag": "y", "notes": 1}]}


def test_ids_are_not_used_again(notebook: Notebook) -> None:
    notebook.add_note("first")
    notebook.delete_note(1)
    assert notebook.add_note("second")["id"] == 2


def test_a_failing_file_is_told_in_words(tmp_path: Path) -> None:
    path = str(tmp_path / "notes.sqlite3")
    with open_store(path) as opened:
        notebook = Notebook(opened)
        notebook.add_note("before")
        with sqlite3.connect(path) as other:
            other.execute("DROP TABLE notes")
        other.close()
        with pytest.raises(
            DemoToolError, match="The notes cannot be reached: no such table: notes"
        ):
            notebook.add_note("after")


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"MCPROXY_NOTES_DB": "/a/b.db", "XDG_STATE_HOME": "/s", "HOME": "/h"}, "/a/b.db"),
        ({"MCPROXY_NOTES_DB": "", "XDG_STATE_HOME": "/s"}, "/s/mcproxy/notes.sqlite3"),
        ({"XDG_STATE_HOME": "", "HOME": "/h"}, "/h/.local/state/mcproxy/notes.sqlite3"),
        ({}, "/.local/state/mcproxy/notes.sqlite3"),
    ],
)
def test_default_path(environment: dict[str, str], path: str) -> None:
    assert default_path(environment) == Path(path)
