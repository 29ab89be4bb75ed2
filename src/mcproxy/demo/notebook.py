"""What each tool of ``notes`` answers, as JSON, over a store.

The parameters are the properties of the tool's input schema, with the same defaults.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mcproxy.demo.note_store import Note, NoteStore, Order
from mcproxy.demo.protocol import DemoToolError
from mcproxy.demo.schema import Json, JsonObject

MAX_TITLE = 200
MAX_BODY = 100_000  # characters: what a model may want to read at once
MAX_TAGS = 20
EXCERPT = 160  # characters


class Notebook:
    """The tools over one store; each raises DemoToolError with what to do instead."""

    def __init__(self, store: NoteStore) -> None:
        self._store = store

    def add_note(self, title: str, body: str = "", tags: Sequence[str] = ()) -> JsonObject:
        """Answer the tool of this name."""
        with _storage():
            return _whole(self._store.add(title, body, _folded(tags)))

    def search_notes(
        self, query: str, tag: str | None = None, limit: int = 20, offset: int = 0
    ) -> JsonObject:
        """Answer the tool of this name."""
        words = query.casefold().split()
        if not words:
            raise DemoToolError("query has no words; list_notes lists every note.")
        with _storage():
            found = self._store.search(words, _tag(tag))
        shown = [_excerpt(note, words[0]) for note in found[offset : offset + limit]]
        return {"notes": shown, "total": len(found)}

    def list_notes(
        self, tag: str | None = None, order: Order = "updated", limit: int = 20, offset: int = 0
    ) -> JsonObject:
        """Answer the tool of this name."""
        with _storage():
            notes = self._store.page(_tag(tag), order, limit, offset)
            total = self._store.count(_tag(tag))
        return {"notes": [_excerpt(note) for note in notes], "total": total}

    def get_note(self, id: int) -> JsonObject:
        """Answer the tool of this name."""
        with _storage():
            return _whole(self._existing(id, self._store.get(id)))

    def update_note(
        self,
        id: int,
        title: str | None = None,
        body: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> JsonObject:
        """Answer the tool of this name."""
        if title is None and body is None and tags is None:
            raise DemoToolError("Nothing to change: give title, body or tags.")
        folded = None if tags is None else _folded(tags)
        with _storage():
            return _whole(self._existing(id, self._store.update(id, title, body, folded)))

    def delete_note(self, id: int) -> JsonObject:
        """Answer the tool of this name."""
        with _storage():
            note = self._existing(id, self._store.get(id))
            self._store.delete(id)
        return {"id": id, "title": note.title}

    def list_tags(self) -> JsonObject:
        """Answer the tool of this name."""
        with _storage():
            return {"tags": [{"tag": tag, "notes": count} for tag, count in self._store.tags()]}

    def _existing(self, note_id: int, note: Note | None) -> Note:
        if note is None:
            raise DemoToolError(
                f"There is no note {note_id}. list_notes and search_notes give the ids of the "
                f"{self._store.count()} notes that there are."
            )
        return note


@contextmanager
def _storage() -> Iterator[None]:
    """Translate what SQLite and its file say: the disk is full, another process holds the file."""
    try:
        yield
    except sqlite3.Error as error:
        raise DemoToolError(f"The notes cannot be reached: {error}. Try again.") from error


def _whole(note: Note) -> JsonObject:
    return {**_head(note), "body": note.body}


def _excerpt(note: Note, word: str = "") -> Json:
    """Show a part of the text: around the first occurrence of ``word``, else the beginning."""
    start = max(0, note.body.casefold().find(word) - EXCERPT // 4)
    part = note.body[start : start + EXCERPT]
    before, after = "…" if start else "", "…" if start + EXCERPT < len(note.body) else ""
    return {**_head(note), "excerpt": f"{before}{part}{after}"}


def _head(note: Note) -> JsonObject:
    return {
        "id": note.id,
        "title": note.title,
        "tags": list(note.tags),
        "created_at": note.created_at,
        "updated_at": note.updated_at,
    }


def _folded(tags: Sequence[str]) -> list[str]:
    return [folded for tag in tags if (folded := _fold(tag))]


def _tag(tag: str | None) -> str | None:
    return None if tag is None else _fold(tag)


def _fold(tag: str) -> str:
    return " ".join(tag.casefold().split()).removeprefix("#")
