"""The gateway's own skill: how to write scripts for ``execute``. It has what the resource
``mcproxy://instructions`` has, and examples that are those of docs/cookbook.md.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from mcproxy.gateway.extensions.skill_uris import OWN, SCHEME
from mcproxy.gateway.own_resources import guide
from mcproxy.types import Json, JsonObject

NAME: Final = "writing-scripts"
ROOT: Final = f"{SCHEME}{OWN}/{NAME}"
URI: Final = f"{ROOT}/SKILL.md"
EXAMPLES: Final = "references/EXAMPLES.md"
DESCRIPTION: Final = (
    "How to write Python scripts for the tool execute, which calls the tools of many servers in "
    "one go. Use it before the first script, or when a script fails."
)
_TYPE: Final = "text/markdown"


def entry() -> JsonObject:
    """The ``Skill`` (SEP-2640, "Skill Entries")."""
    resources: list[Json] = [
        {
            "uri": uri,
            "digest": f"sha256:{hashlib.sha256(text.encode()).hexdigest()}",
            "size": len(text.encode()),
        }
        for uri, text in _texts().items()
    ]
    frontmatter: JsonObject = {"name": NAME, "description": DESCRIPTION}
    return {"uri": URI, "frontmatter": frontmatter, "resources": resources}


def read(uri: str) -> JsonObject | None:
    """The result of ``resources/read``; None for what is no file of the skill."""
    text = _texts().get(uri)
    if text is None:
        return None
    return {"contents": [{"uri": uri, "mimeType": _TYPE, "text": text}]}


def directory(uri: str) -> list[JsonObject] | None:
    """The children of a folder of the skill; None for what is none."""
    inside = [file.removeprefix(f"{uri}/") for file in _texts() if file.startswith(f"{uri}/")]
    names = dict.fromkeys(name.partition("/")[0] for name in inside)
    listed: list[JsonObject] = [
        {
            "uri": f"{uri}/{name}",
            "name": name,
            "mimeType": _TYPE if name in inside else "inode/directory",
        }
        for name in names
    ]
    return listed if uri.startswith(ROOT) and listed else None


@cache
def _texts() -> Mapping[str, str]:
    """The files by URI."""
    head = f"---\nname: {NAME}\ndescription: {DESCRIPTION}\n---\n\n"
    more = f"\nTen whole jobs, each one script: [{EXAMPLES}]({EXAMPLES})\n"
    examples = files("mcproxy.gateway.extensions").joinpath("examples.md").read_text("utf-8")
    return {URI: head + guide() + more, f"{ROOT}/{EXAMPLES}": examples}
