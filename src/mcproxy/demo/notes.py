"""The demo server ``notes``: a small notebook for agents, in one SQLite file.

Started as ``python -m mcproxy.demo.notes``. Here are the tools as a model sees them; what they
answer is in ``notebook``, how notes are kept in ``note_store``.
"""

import os
import sqlite3
import sys
from contextlib import ExitStack

from mcproxy.demo.note_store import default_path, open_store
from mcproxy.demo.notebook import MAX_BODY, MAX_TAGS, MAX_TITLE, Notebook
from mcproxy.demo.protocol import DemoTool, Server
from mcproxy.demo.schema import JsonObject, array, full_record, integer, record, text
from mcproxy.demo.stdio_server import serve

_ID = integer(
    "The note's id, as add_note, list_notes and search_notes give it.", minimum=1, maximum=10**15
)
_TITLE = text("A short title.", minLength=1, maxLength=MAX_TITLE)
_BODY = text("The text, Markdown or plain.", maxLength=MAX_BODY)
_TAGS = array(
    "Tags; upper and lower case do not matter.",
    text("A tag, such as 'work'.", minLength=1, maxLength=40),
    maxItems=MAX_TAGS,
)
_ONLY_TAG = text("Only notes with this tag.", minLength=1)
_PAGE: dict[str, JsonObject] = {
    "limit": integer("At most so many notes.", minimum=1, maximum=100, default=20),
    "offset": integer("Skip so many notes first.", minimum=0, maximum=10**9, default=0),
}

_HEAD: dict[str, JsonObject] = {
    "id": integer("The note's id."),
    "title": text("Its title."),
    "tags": array("Its tags, in alphabetical order.", text("A tag.")),
    "created_at": text("When it was added: ISO 8601, UTC."),
    "updated_at": text("When it was last changed: ISO 8601, UTC."),
}
_NOTE = full_record(**_HEAD, body=text("Its text."))
_EXCERPTS = full_record(
    notes=array("The notes.", full_record(**_HEAD, excerpt=text("A part of its text."))),
    total=integer("How many notes there are in all, whatever limit and offset say."),
)


def tools(notebook: Notebook) -> tuple[DemoTool, ...]:
    """Return the tools over one notebook."""
    return (
        DemoTool(
            name="add_note",
            title="Add a note",
            description="Keep a new note, with a title, a text and tags. Returns it with its id.",
            arguments=record({"title": _TITLE, "body": _BODY, "tags": _TAGS}, required=("title",)),
            result=_NOTE,
            run=notebook.add_note,
            read_only=False,
            idempotent=False,
        ),
        DemoTool(
            name="search_notes",
            title="Search notes",
            description=(
                "Find notes that have every word of the query in their title, text or tags, in any "
                "case; best first, with an excerpt. get_note has the whole text."
            ),
            arguments=record(
                {
                    "query": text("Words to look for.", minLength=1, maxLength=MAX_TITLE),
                    "tag": _ONLY_TAG,
                    **_PAGE,
                },
                required=("query",),
            ),
            result=_EXCERPTS,
            run=notebook.search_notes,
        ),
        DemoTool(
            name="list_notes",
            title="List notes",
            description="List notes, of one tag or all, with the beginning of their text.",
            arguments=record(
                {
                    "tag": _ONLY_TAG,
                    "order": text(
                        "What comes first: the last updated, the last created, or by title.",
                        enum=["updated", "created", "title"],
                        default="updated",
                    ),
                    **_PAGE,
                }
            ),
            result=_EXCERPTS,
            run=notebook.list_notes,
        ),
        DemoTool(
            name="get_note",
            title="Read a note",
            description="Read one note, whole.",
            arguments=record({"id": _ID}, required=("id",)),
            result=_NOTE,
            run=notebook.get_note,
        ),
        DemoTool(
            name="update_note",
            title="Change a note",
            description=(
                "Replace the title, the text or the tags of a note; what is left out stays. "
                "Returns the note as it is now."
            ),
            arguments=record(
                {"id": _ID, "title": _TITLE, "body": _BODY, "tags": _TAGS}, required=("id",)
            ),
            result=_NOTE,
            run=notebook.update_note,
            read_only=False,
            destructive=True,
        ),
        DemoTool(
            name="delete_note",
            title="Delete a note",
            description="Delete a note for good. Its id is not used again.",
            arguments=record({"id": _ID}, required=("id",)),
            result=full_record(id=integer("The id that was deleted."), title=text("Its title.")),
            run=notebook.delete_note,
            read_only=False,
            destructive=True,
        ),
        DemoTool(
            name="list_tags",
            title="List tags",
            description="List the tags in use with their number of notes, the most used first.",
            arguments=record({}),
            result=full_record(
                tags=array(
                    "The tags.",
                    full_record(tag=text("The tag."), notes=integer("How many notes have it.")),
                )
            ),
            run=notebook.list_tags,
        ),
    )


def main() -> None:
    """Serve the user's notes; notes in memory when their file cannot be used."""
    with ExitStack() as stack:
        path = default_path(os.environ)
        try:
            store = stack.enter_context(open_store(str(path)))
            where = f"They are kept in {path}."
        except (OSError, sqlite3.Error) as error:
            store = stack.enter_context(open_store(":memory:"))
            where = f"They are lost when this server stops: {path} cannot be used ({error})."
            sys.stderr.write(f"notes: {where}\n")
        serve(
            Server(
                name="mcproxy-demo-notes",
                version="1.0.0",
                instructions=f"A notebook: notes with titles, texts and tags. {where}",
                tools=tools(Notebook(store)),
            )
        )


if __name__ == "__main__":
    main()
