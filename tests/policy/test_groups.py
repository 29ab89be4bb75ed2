"""Groups: which namespace a call is made in, and under which terms a script runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.config.load import load_document
from mcproxy.config.sandbox import Filesystem, Network, Sandbox
from mcproxy.policy.groups import Group, resolve_groups, strictest
from mcproxy.policy.namespaces import resolve
from mcproxy.types import JsonObject

DOCUMENT: JsonObject = {
    "servers": {name: {"command": "c"} for name in ("web", "wiki", "db")},
    "namespaces": {
        "docs": {"servers": ["wiki", "web"], "sandbox": {"memory_mb": 512, "timeout_secs": 10}},
        "fast": {
            "servers": ["web"],
            "mode": "direct",
            "rate_limit": {"requests_per_minute": 5},
            "sandbox": {"max_calls": 50},
        },
        "system": {
            "servers": ["db"],
            "require_auth": True,
            "isolated": True,
            "sandbox": {"network": {"enabled": False}},
        },
    },
    "groups": {
        "all": ["fast", "docs", "!system"],
        "harmless": ["!docs"],
        "direct": ["fast", "fast"],
    },
    "sandbox": {"network": {"allowed_hosts": ["*"]}},
}


@pytest.fixture
def groups() -> dict[str, Group]:
    config = load_document(DOCUMENT).config
    return dict(resolve_groups(config, resolve(config)))


@pytest.mark.requirement("groups.reach")
def test_a_server_is_reached_through_the_first_member_that_has_it(groups: dict[str, Group]) -> None:
    everything = groups["all"]
    assert everything.servers == ("web", "wiki", "db")
    through = {server: everything.through(server) for server in everything.servers}
    assert {server: member.name for server, member in through.items()} == {
        "web": "fast",
        "wiki": "docs",
        "db": "system",
    }
    assert through["web"].rate_limit == 5
    assert everything.through("unknown") is everything
    assert through["web"].through("web") is through["web"]


def test_a_script_in_a_group_has_the_strictest_terms_of_all_members(
    groups: dict[str, Group],
) -> None:
    everything = groups["all"]
    assert everything.require_auth
    assert not everything.sandbox.network.enabled
    limits = everything.limits
    assert (limits.memory_mb, limits.timeout_secs, limits.max_calls) == (256, 10, 50)


def test_a_mark_where_none_is_needed_is_harmless(groups: dict[str, Group]) -> None:
    assert groups["harmless"].servers == ("wiki", "web")
    assert not groups["harmless"].require_auth


def test_the_mode_is_that_of_all_members_or_the_default(groups: dict[str, Group]) -> None:
    assert {name: group.mode for name, group in groups.items()} == {
        "all": "code",
        "harmless": "code",
        "direct": "direct",
    }


HOSTS = {
    (("*",), ("a.com", "*.b.com")): ("a.com", "*.b.com"),
    (("a.com",), ("b.com",)): (),
    (("*.b.com",), ("x.b.com", "b.com", "*.y.b.com")): ("x.b.com", "*.y.b.com"),
    (("*",), ("*",)): ("*",),
    ((), ("*",)): (),
}


@pytest.mark.parametrize(("one", "other"), HOSTS)
def test_only_hosts_that_both_allow_are_allowed(
    one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    both = strictest(
        Sandbox(network=Network(allowed_hosts=one)), Sandbox(network=Network(allowed_hosts=other))
    )
    assert both.network.allowed_hosts == HOSTS[one, other]


paths = st.lists(st.sampled_from(["/a", "/b", "/c"]), unique=True).map(tuple)
hosts = st.lists(st.sampled_from(["*", "*.x.com", "a.x.com", "b.com"]), unique=True).map(tuple)
sandboxes = st.builds(
    Sandbox,
    timeout_secs=st.sampled_from([1.0, 2.0]),
    memory_mb=st.sampled_from([64, 128]),
    packages=st.lists(st.sampled_from(["p", "q"]), unique=True).map(tuple),
    network=st.builds(Network, enabled=st.booleans(), allowed_hosts=hosts),
    filesystem=st.builds(Filesystem, read_only=paths, read_write=paths, denied=paths),
)


def allows(sandbox: Sandbox, host: str) -> bool:
    """The meaning of ``allowed_hosts``, by enumeration."""
    listed = sandbox.network.allowed_hosts
    below = "*.x.com" in listed and host.endswith(".x.com")
    return sandbox.network.enabled and ("*" in listed or host in listed or below)


@given(sandboxes, sandboxes)
def test_strictest_allows_exactly_what_both_allow(one: Sandbox, other: Sandbox) -> None:
    both = strictest(one, other)
    for host in ("a.x.com", "c.x.com", "b.com", "x.com", "other.org"):
        assert allows(both, host) == (allows(one, host) and allows(other, host))
    for path in ("/a", "/b", "/c"):
        files = (one.filesystem, other.filesystem)
        assert (path in both.filesystem.read_only) == all(path in each.read_only for each in files)
        assert (path in both.filesystem.denied) == any(path in each.denied for each in files)
    assert both.memory_mb == min(one.memory_mb, other.memory_mb)
    assert strictest(one, one) == one
