"""Whose a skill is, of several servers behind one gateway. Pure; ``skills`` has what goes over the
wire.

A skill is its server's and is known there by the URI of its ``SKILL.md`` (SEP-2640, "Skill URIs");
all that lies below is of the skill. To a client the gateway is one server. A URI stays as it is
where no other server could mean it too; else it is shown with its server's name as first segment,
so that no skill takes another's place.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property, partial

import msgspec

from mcproxy.foreign_text import hides, is_seen
from mcproxy.gateway.resources import OwnedResource
from mcproxy.types import Json, JsonObject

SCHEME = "skill://"
OWN = "mcproxy"  # the first segment of the gateway's own
_FILE = "SKILL.md"
MAX_DEPTH = 8  # folders above a file that are looked at for a skill which nobody lists


def is_sound(entry: JsonObject) -> bool:
    """Whether an entry says what it must, hides nothing, and has files of its own skill alone
    ("Skill Entries"). Texts cannot be mended: a host compares them with the file."""
    uri, frontmatter, files = entry.get("uri"), entry.get("frontmatter"), entry.get("resources")
    if not isinstance(uri, str) or not uri.endswith(f"/{_FILE}") or not is_seen(uri):
        return False
    match frontmatter:
        case {"name": str(name), "description": str(description)}:
            if not is_seen(name) or hides(description):
                return False
        case _:
            return False
    return files == "dynamic" or (
        isinstance(files, list) and all(_is_within(root_of(uri), each) for each in files)
    )


def root_of(uri: str) -> str:
    """The folder of a skill, with a slash at its end, by the URI of its ``SKILL.md``."""
    return uri.removesuffix(_FILE)


def may_be_in(uri: str) -> Sequence[str]:
    """The ``SKILL.md`` of all skills that a file or folder may be in, the nearest first."""
    if uri.endswith(f"/{_FILE}"):
        uri = uri.removesuffix(f"/{_FILE}")
    return [f"{folder}{_FILE}" for folder in _folders(f"{uri}/")][: -MAX_DEPTH - 1 : -1]


def renamed(entry: JsonObject, rename: Callable[[str], str]) -> JsonObject:
    """A skill's entry, or a resource, with other URIs."""
    files = entry.get("resources")
    within: JsonObject = {}
    if isinstance(files, list):
        within["resources"] = [
            renamed(each, rename) if isinstance(each, dict) else each for each in files
        ]
    return {**entry, **within, "uri": rename(str(entry.get("uri")))}


def alias(server: str, uri: str) -> str:
    """A URI with its server's name."""
    return f"{SCHEME}{server}/{uri.removeprefix(SCHEME)}"


def named(uri: str, servers: Collection[str]) -> Sequence[OwnedResource]:
    """What a URI can be whose first segment is the name of one of these servers, which is the only
    one that it can be of; nothing for another URI."""
    server, _, rest = uri.removeprefix(SCHEME).partition("/")
    if not uri.startswith(SCHEME) or server not in servers or not rest:
        return ()
    return OwnedResource(server, uri), OwnedResource(server, f"{SCHEME}{rest}")


class ListedSkills(msgspec.Struct, frozen=True, dict=True):
    """The skills that servers list, each with its server, sound ones only; ``servers`` are all that
    have any."""

    found: Sequence[tuple[str, JsonObject]]
    servers: Collection[str]

    def shown(self) -> list[JsonObject]:
        """The entries as clients see them. One that is in doubt and has another scheme cannot be
        renamed, and is left out."""
        listed: list[JsonObject] = []
        for server, entry in self.found:
            uri = str(entry["uri"])
            if root_of(uri) not in self._doubtful[server]:
                listed.append(entry)
            elif uri.startswith(SCHEME):
                listed.append(renamed(entry, partial(alias, server)))
        return listed

    def owners(self, uri: str) -> Collection[str]:
        """The servers that list a skill with this file, or folder, in it."""
        return {owner for folder in _folders(f"{uri}/") for owner in self._owners.get(folder, ())}

    @cached_property
    def _owners(self) -> Mapping[str, set[str]]:
        """The servers by the roots of their skills."""
        owners: dict[str, set[str]] = {}
        for server, entry in self.found:
            owners.setdefault(root_of(str(entry["uri"])), set()).add(server)
        return owners

    @cached_property
    def _doubtful(self) -> Mapping[str, Collection[str]]:
        """By server, the roots below which another server may have something too, or that begin
        with a name that stands for another one."""
        doubtful: dict[str, set[str]] = {server: set() for server, _ in self.found}
        names = {*self.servers, OWN}
        for server, entry in self.found:
            root = root_of(str(entry["uri"]))
            if root.removeprefix(SCHEME).partition("/")[0] in names - {server}:
                doubtful[server].add(root)
            for folder in _folders(root):
                for other in self._owners.get(folder, set()) - {server}:
                    doubtful[server].add(root)
                    doubtful[other].add(folder)
        return doubtful


def _folders(folder: str) -> Iterator[str]:
    """A folder and all those around it, each with a slash at its end."""
    start = folder.find("://") + 3
    while (start := folder.find("/", start) + 1) > 0:
        yield folder[:start]


def _is_within(root: str, file: Json) -> bool:
    uri = file.get("uri") if isinstance(file, dict) else None
    return isinstance(uri, str) and uri.startswith(root) and is_seen(uri) and ".." not in uri
