"""Any namespaces that extend one another without a cycle, against the definition in plain words."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.config.load import load_document
from mcproxy.policy.access import AccessDenied, admit, policy_of, usable
from mcproxy.policy.namespaces import Namespace, resolve
from mcproxy.types import Caller, Json, JsonObject

NAMES = tuple("abcdef")
SERVERS = tuple(f"s{number}" for number in range(6))
# A setting of each kind: of the sandbox, of an object within it, of the namespace itself.
MEMORY, HOSTS = st.integers(64, 999), st.sampled_from("xyz")


@dataclass(frozen=True)
class Section:
    """One namespace as the file has it."""

    parents: tuple[str, ...]
    servers: tuple[str, ...]
    guarded: bool
    memory: int | None
    host: str | None

    def document(self) -> JsonObject:
        sandbox: JsonObject = {}
        if self.memory is not None:
            sandbox["memory_mb"] = self.memory
        if self.host is not None:
            sandbox["network"] = {"allowed_hosts": [f"{self.host}.org"]}
        return {
            "extends": [*self.parents],
            "servers": [*self.servers],
            "require_auth": self.guarded,
            "sandbox": sandbox,
        }


@st.composite
def layouts(draw: st.DrawFn) -> Mapping[str, Section]:
    """Namespaces in any order of writing; each may extend those before it in a hidden order."""
    hidden = draw(st.permutations(NAMES))
    sections = {
        name: Section(
            tuple(draw(st.lists(st.sampled_from(hidden[:index]), max_size=3, unique=True)))
            if index
            else (),
            tuple(draw(st.lists(st.sampled_from(SERVERS), max_size=2, unique=True))),
            draw(st.booleans()),
            draw(st.none() | MEMORY),
            draw(st.none() | HOSTS),
        )
        for index, name in enumerate(hidden)
    }
    return {name: sections[name] for name in draw(st.permutations(NAMES))}


def document(layout: Mapping[str, Section], **more: Json) -> JsonObject:
    return {
        "servers": {name: {"command": "c"} for name in SERVERS},
        "namespaces": {name: section.document() for name, section in layout.items()},
        **more,
    }


def resolved(layout: Mapping[str, Section]) -> Mapping[str, Namespace]:
    return resolve(load_document(document(layout)).config)


def ancestors(layout: Mapping[str, Section], name: str) -> set[str]:
    """The namespace and all that it extends, by the definition."""
    return {name}.union(*(ancestors(layout, parent) for parent in layout[name].parents))


@pytest.mark.requirement("namespaces.reach")
@given(layouts())
def test_the_reach_is_the_union_over_all_ancestors(layout: Mapping[str, Section]) -> None:
    for name, namespace in resolved(layout).items():
        if name in layout:
            line = ancestors(layout, name)
            assert set(namespace.servers) == {s for each in line for s in layout[each].servers}
            assert len(set(namespace.servers)) == len(namespace.servers)
            own = layout[name].servers
            assert namespace.servers[: len(own)] == own


@pytest.mark.requirement("namespaces.default")
@given(layouts())
def test_servers_that_nobody_lists_are_in_the_default_namespace(
    layout: Mapping[str, Section],
) -> None:
    listed = {server for section in layout.values() for server in section.servers}
    assert set(resolved(layout)["public"].servers) == set(SERVERS) - listed


@pytest.mark.requirement("namespaces.require_auth")
@given(layouts())
def test_one_guarded_ancestor_guards(layout: Mapping[str, Section]) -> None:
    found = resolved(layout)
    for name in layout:
        guards = [layout[each].guarded for each in ancestors(layout, name)]
        assert found[name].require_auth == any(guards)


@pytest.mark.requirement("namespaces.merge")
@given(layouts())
def test_a_setting_is_of_an_ancestor_that_nobody_between_overrides(
    layout: Mapping[str, Section],
) -> None:
    """Each key by itself. Which of several parents wins is the order's matter, so any of those that
    no nearer one hides will do, and the global value only where nobody says anything."""
    found = resolved(layout)
    for name in layout:
        memory = nearest(layout, name, "memory")
        assert found[name].sandbox.memory_mb in (memory or {256})
        hosts = {f"{host}.org" for host in nearest(layout, name, "host")}
        assert set(found[name].sandbox.network.allowed_hosts) <= hosts
        assert bool(found[name].sandbox.network.allowed_hosts) == bool(hosts)


def nearest(layout: Mapping[str, Section], name: str, key: str) -> set[int | str]:
    """The values that are reached on some way up without passing another one."""
    own = getattr(layout[name], key)
    if own is not None:
        return {own}
    return set().union(*(nearest(layout, parent, key) for parent in layout[name].parents))


@pytest.mark.requirement("access.tokens")
@given(layouts(), st.sets(st.sampled_from(NAMES)), st.sampled_from(NAMES))
def test_a_token_opens_what_it_lists_and_what_is_open_to_all(
    layout: Mapping[str, Section], listed: set[str], asked: str
) -> None:
    token: JsonObject = {"name": "t", "token": "of-t", "namespaces": [*sorted(listed)]}
    policy = policy_of(load_document(document(layout, auth={"tokens": [token]})).config)
    caller = Caller(token="of-t")
    guarded = any(layout[each].guarded for each in ancestors(layout, asked))
    assert (asked in {place.name for place in usable(policy, caller)}) == (
        asked in listed or not guarded
    )
    if guarded and asked not in listed:
        with pytest.raises(AccessDenied):
            admit(policy, caller, asked)
    else:
        assert admit(policy, caller, asked).namespace.name == asked
