"""Whose a skill is, of several servers; and which entries are passed on at all."""

import pytest

from mcproxy.gateway.extensions import own_skill
from mcproxy.gateway.extensions.skill_uris import (
    MAX_DEPTH,
    ListedSkills,
    alias,
    is_sound,
    may_be_in,
    named,
)
from mcproxy.types import Json, JsonObject
from tests.pages import ROOT


def entry(root: str, *files: str, scheme: str = "skill://", **changed: Json) -> JsonObject:
    uri = f"{scheme}{root}/SKILL.md"
    listed: list[Json] = [{"uri": f"{scheme}{root}/{file}"} for file in ("SKILL.md", *files)]
    frontmatter: JsonObject = {"name": root.rpartition("/")[2], "description": "d"}
    return {"uri": uri, "frontmatter": frontmatter, "resources": listed, **changed}


UNSOUND: list[JsonObject] = [
    entry("a", uri="skill://a/README.md"),
    entry("a", uri=None),
    entry("a", uri="skill://a\u200b/SKILL.md"),
    entry("a", frontmatter={"description": "d"}),
    entry("a", frontmatter={"name": "a"}),
    entry("a", frontmatter={"name": "a", "description": 3}),
    entry("a", frontmatter={"name": "a", "description": "d\u202e"}),
    entry("a", resources=None),
    entry("a", resources="all"),
    entry("a", resources=[{"uri": "skill://b/SKILL.md"}]),
    entry("a", resources=[{"uri": "skill://a/../b/SKILL.md"}]),
    entry("a", resources=[3]),
]


@pytest.mark.requirement("skills.listed")
@pytest.mark.parametrize("odd", UNSOUND)
def test_an_entry_that_is_not_as_it_must_be_is_left_out(odd: JsonObject) -> None:
    assert not is_sound(odd)


def test_sound_entries_are_taken() -> None:
    assert is_sound(entry("a", "notes/b.md"))
    assert is_sound(entry("a", resources="dynamic"))


# What servers list, and what clients see of it.
SHOWN: list[tuple[list[tuple[str, str]], list[str]]] = [
    ([("x", "a"), ("y", "b")], ["skill://a/SKILL.md", "skill://b/SKILL.md"]),
    ([("x", "a"), ("y", "a")], ["skill://x/a/SKILL.md", "skill://y/a/SKILL.md"]),
    ([("x", "a"), ("x", "a/b")], ["skill://a/SKILL.md", "skill://a/b/SKILL.md"]),
    ([("x", "a"), ("y", "a/b")], ["skill://x/a/SKILL.md", "skill://y/a/b/SKILL.md"]),
    ([("x", "y/a"), ("y", "b")], ["skill://x/y/a/SKILL.md", "skill://b/SKILL.md"]),
    ([("x", "x/a")], ["skill://x/a/SKILL.md"]),
    ([("x", "mcproxy/a")], ["skill://x/mcproxy/a/SKILL.md"]),
    ([("x", "ab"), ("y", "a")], ["skill://ab/SKILL.md", "skill://a/SKILL.md"]),
]


@pytest.mark.requirement("skills.owner")
@pytest.mark.parametrize(("listed", "shown"), SHOWN)
def test_a_skill_has_its_servers_name_where_another_could_be_meant(
    listed: list[tuple[str, str]], shown: list[str]
) -> None:
    skills = ListedSkills([(server, entry(root, "f.md")) for server, root in listed], {"x", "y"})
    assert [each["uri"] for each in skills.shown()] == shown
    for (server, root), uri in zip(listed, shown, strict=True):
        file = uri.replace("SKILL.md", "f.md")
        candidates = named(file, {"x", "y"})
        owners = {owner for owner, _ in candidates} or set(skills.owners(file))
        assert owners == {server}
        if candidates:
            assert f"skill://{root}/f.md" in [own for _, own in candidates]


def test_of_another_scheme_neither_is_shown() -> None:
    found = [(server, entry("a", scheme="repo://")) for server in ("x", "y")]
    assert ListedSkills(found, {"x", "y"}).shown() == []
    assert len(ListedSkills(found[:1], {"x", "y"}).shown()) == 1


def test_a_file_may_be_in_any_skill_around_it() -> None:
    around = ["skill://a/b/SKILL.md", "skill://a/SKILL.md"]
    assert may_be_in("skill://a/b/SKILL.md") == may_be_in("skill://a/b") == around
    assert may_be_in("skill://a/b/c.md") == ["skill://a/b/c.md/SKILL.md", *around]
    assert len(may_be_in("skill://" + "a/" * 100 + "c.md")) == MAX_DEPTH


def test_an_alias_is_read_back() -> None:
    assert ("x", "skill://a/b.md") in named(alias("x", "skill://a/b.md"), {"x"})
    assert not named("skill://x", {"x"})
    assert not named("repo://x/a", {"x"})


@pytest.mark.requirement("skills.own")
def test_the_examples_of_the_gateways_own_skill_are_the_cookbooks() -> None:
    cookbook = (ROOT / "docs/cookbook.md").read_text("utf-8").partition("\n## 1.")
    contents = own_skill.read(f"{own_skill.ROOT}/{own_skill.EXAMPLES}")
    assert contents is not None
    match contents["contents"]:
        case [{"text": str(text)}]:
            assert text.endswith("".join(cookbook[1:]))
        case other:
            raise AssertionError(other)
    assert is_sound(own_skill.entry())
