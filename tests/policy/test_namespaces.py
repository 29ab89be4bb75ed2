"""What namespaces come to once inheritance is resolved."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.config.load import load_document
from mcproxy.policy.namespaces import Namespace, resolve
from mcproxy.types import Json, JsonObject

COMMAND: JsonObject = {"command": "c"}


def resolved(document: JsonObject) -> dict[str, Namespace]:
    return dict(resolve(load_document(document).config))


def servers(*names: str) -> JsonObject:
    return dict.fromkeys(names, COMMAND)


LAYOUT: JsonObject = {
    "servers": {
        **servers("playwright", "wikipedia", "covalent", "supabase", "loose"),
        "narsil": {"command": "c", "namespace": "system"},
        "covalent": {"command": "c", "namespace": "crypto"},
    },
    "namespaces": {
        "public": ["playwright", "wikipedia"],
        "crypto": {
            "extends": "public",
            "servers": ["covalent"],
            "sandbox": {"memory_mb": 512, "network": {"allowed_hosts": ["api.covalenthq.com"]}},
            "rate_limit": {"requests_per_minute": 60},
            "concurrency": {"max_running": 8, "max_waiting": 4},
        },
        "deep": {
            "extends": ["crypto"],
            "mode": "both",
            "sandbox": {"timeout_secs": 5, "max_calls": 20, "network": {"enabled": False}},
        },
        "system": {
            "extends": None,
            "require_auth": True,
            "allowed_origins": ["localhost"],
            "isolated": True,
            "servers": ["supabase"],
        },
        "admin": {"extends": ["system", "crypto"]},
    },
    "sandbox": {"packages": ["rich"], "timeout_secs": 20},
}


@pytest.mark.requirement("namespaces.reach")
def test_a_namespace_reaches_its_own_servers_then_those_of_its_ancestors() -> None:
    reach = {name: namespace.servers for name, namespace in resolved(LAYOUT).items()}
    assert reach == {
        "public": ("playwright", "wikipedia", "loose"),
        "crypto": ("covalent", "playwright", "wikipedia", "loose"),
        "deep": ("covalent", "playwright", "wikipedia", "loose"),
        "system": ("supabase", "narsil"),
        "admin": ("supabase", "narsil", "covalent", "playwright", "wikipedia", "loose"),
    }


@pytest.mark.requirement("namespaces.merge")
def test_settings_merge_key_by_key_the_nearest_first() -> None:
    found = resolved(LAYOUT)
    deep = found["deep"]
    assert (deep.limits.timeout_secs, deep.limits.memory_mb) == (5, 512)
    assert (deep.limits.max_calls, found["crypto"].limits.max_calls) == (20, 200)
    assert deep.sandbox.packages == ("rich",)
    assert not deep.sandbox.network.enabled
    assert deep.sandbox.network.allowed_hosts == ("api.covalenthq.com",)
    assert (deep.rate_limit, deep.mode) == (60, "both")
    assert deep.concurrency is not None
    assert (deep.concurrency.max_running, deep.concurrency.max_waiting) == (8, 4)
    assert (found["crypto"].limits.timeout_secs, found["crypto"].mode) == (20, "code")
    assert found["public"].rate_limit is None


@pytest.mark.requirement("namespaces.require_auth")
def test_a_guard_and_its_origins_hold_for_all_that_extend_it() -> None:
    found = resolved(LAYOUT)
    assert [name for name, namespace in found.items() if namespace.require_auth] == [
        "system",
        "admin",
    ]
    assert found["admin"].allowed_origins == ("localhost",)
    assert found["public"].allowed_origins is None
    assert [name for name, namespace in found.items() if namespace.isolated] == ["system"]


def test_a_guard_cannot_be_lifted_below_it() -> None:
    found = resolved(
        {
            "namespaces": {
                "a": {"require_auth": True},
                "b": {"extends": "a", "require_auth": False},
            }
        }
    )
    assert found["b"].require_auth


DEFAULTS: dict[str, tuple[JsonObject, str, tuple[str, ...]]] = {
    "nothing said": ({"servers": servers("x", "y")}, "public", ("x", "y")),
    "another name": (
        {"servers": servers("x"), "sandbox": {"default_namespace": "home"}},
        "home",
        ("x",),
    ),
    "some in others": (
        {"servers": servers("x", "y"), "namespaces": {"other": ["x"]}},
        "public",
        ("y",),
    ),
    "listed too": (
        {"servers": servers("x", "y"), "namespaces": {"public": ["y"]}},
        "public",
        ("y", "x"),
    ),
    "named by the server": (
        {"servers": {"x": {"command": "c", "namespace": "public"}}},
        "public",
        ("x",),
    ),
}


@pytest.mark.requirement("namespaces.default")
@pytest.mark.parametrize("title", DEFAULTS)
def test_the_default_namespace_exists_and_takes_servers_that_are_in_none(title: str) -> None:
    document, name, expected = DEFAULTS[title]
    assert resolved(document)[name].servers == expected


def test_the_first_of_several_parents_wins_and_a_parent_beats_its_ancestors() -> None:
    memory: list[Json] = [{"sandbox": {"memory_mb": size}} for size in (100, 200, 300)]
    document: JsonObject = {
        "namespaces": {
            "base": memory[0],
            "one": {"extends": "base"},
            "two": {"extends": "base", "sandbox": {"memory_mb": 200}},
            "three": memory[2],
            "diamond": {"extends": ["one", "two"]},
            "ordered": {"extends": ["three", "two"]},
        }
    }
    found = resolved(document)
    assert found["diamond"].limits.memory_mb == 200
    assert found["ordered"].limits.memory_mb == 300


@given(st.permutations(["a", "b", "c", "d"]), st.data())
def test_whoever_extends_reaches_at_least_as_much(order: list[str], data: st.DataObject) -> None:
    namespaces: JsonObject = {}
    for index, name in enumerate(order):
        parents: list[Json] = (
            list(data.draw(st.sets(st.sampled_from(order[:index])))) if index else []
        )
        guard = data.draw(st.booleans())
        namespaces[name] = {"extends": parents, "servers": [name], "require_auth": guard}
    found = resolved({"servers": servers(*order), "namespaces": namespaces})
    for name, section in namespaces.items():
        assert isinstance(section, dict)
        extends = section["extends"]
        assert isinstance(extends, list)
        for parent in map(str, extends):
            assert set(found[name].servers) >= set(found[parent].servers)
            assert found[name].require_auth >= found[parent].require_auth
