"""Where the settings of a namespace come from."""

from hypothesis import given
from hypothesis import strategies as st

from mcproxy.config.load import load_document
from mcproxy.policy.explain import Setting, Story, explain
from mcproxy.policy.namespaces import resolve
from mcproxy.types import JsonObject


def told(document: JsonObject) -> Story:
    return explain(load_document(document).config)


def by_key(settings: tuple[Setting, ...]) -> dict[str, tuple[object, str]]:
    return {setting.key: (setting.value, setting.source) for setting in settings}


LAYOUT: JsonObject = {
    "servers": {
        "wiki": {"command": "c"},
        "coins": {
            "command": "c",
            "namespace": "crypto",
            "timeout_secs": 350,
            "tool_timeouts": {"backtest": 900},
            "sandbox": {"memory_mb": 64},
        },
        "db": {"command": "c", "enabled": False},
    },
    "namespaces": {
        "crypto": {
            "extends": "public",
            "mode": "both",
            "rate_limit": {"requests_per_minute": 60},
            "concurrency": {"max_running": 8},
            "sandbox": {
                "memory_mb": 512,
                "max_calls": 500,
                "network": {"allowed_hosts": ["x.org"]},
            },
        },
        "deep": {"extends": "crypto", "sandbox": {"network": {"enabled": False}}},
        "system": {
            "require_auth": True,
            "allowed_origins": ["localhost"],
            "isolated": True,
            "servers": ["db"],
            "sandbox": {"env_isolation": False},
        },
        "admin": {"extends": ["system", "deep"], "require_auth": False},
    },
    "groups": {"all": ["crypto", "!system"]},
    "sandbox": {"timeout_secs": 20},
}


def test_servers_come_from_the_namespace_that_has_them() -> None:
    story = told(LAYOUT)
    reach = {
        name: [(each.server, each.source) for each in namespace.servers]
        for name, namespace in story.namespaces.items()
    }
    assert reach["public"] == [("wiki", "public")]
    assert reach["deep"] == [("coins", "crypto"), ("wiki", "public")]
    assert reach["admin"] == [("db", "system"), ("coins", "crypto"), ("wiki", "public")]
    assert story.namespaces["deep"].ancestors == ("crypto", "public")
    assert [each.is_default for each in story.namespaces.values()] == [True] + [False] * 4


def test_each_setting_names_who_said_it_first() -> None:
    namespaces = told(LAYOUT).namespaces
    deep = by_key(namespaces["deep"].settings)
    assert deep["sandbox.memory_mb"] == (512, "namespace crypto")
    assert deep["sandbox.max_calls"] == (500, "namespace crypto")
    assert deep["sandbox.timeout_secs"] == (20, "sandbox")
    assert deep["sandbox.network.enabled"] == (False, "namespace deep")
    assert deep["sandbox.network.allowed_hosts"] == (("x.org",), "namespace crypto")
    assert deep["sandbox.packages"] == ((), "default")
    assert deep["mode"] == ("both", "namespace crypto")
    assert deep["rate_limit"] == (60, "namespace crypto")
    assert deep["concurrency.max_running"] == (8, "namespace crypto")
    assert deep["concurrency.max_waiting"] == (16, "namespace crypto")
    assert by_key(namespaces["public"].settings)["concurrency"] == (None, "default")
    assert deep["require_auth"] == (False, "default")
    assert "sandbox.min_level" not in deep


def test_a_guard_is_told_by_who_set_it_up_and_isolation_is_not_inherited() -> None:
    namespaces = told(LAYOUT).namespaces
    admin = by_key(namespaces["admin"].settings)
    assert admin["require_auth"] == (True, "namespace system")
    assert admin["allowed_origins"] == (("localhost",), "namespace system")
    assert admin["isolated"] == (False, "default")
    assert by_key(namespaces["system"].settings)["isolated"] == (True, "namespace system")


def test_a_server_has_settings_of_its_own() -> None:
    servers = told(LAYOUT).servers
    assert by_key(servers["coins"].settings) == {
        "timeout_secs": (350, "server coins"),
        "tool_timeouts.backtest": (900, "server coins"),
        "sandbox.memory_mb": (64, "server coins"),
        "sandbox.env_isolation": (True, "default"),
    }
    assert servers["coins"].endpoints == ("crypto", "deep", "admin", "all")
    assert by_key(servers["db"].settings)["sandbox.env_isolation"] == (False, "namespace system")
    assert not servers["db"].enabled


def test_a_group_tells_through_which_member_a_server_is_reached() -> None:
    group = told(LAYOUT).groups["all"]
    assert group.members == ("crypto", "system")
    assert [(each.server, each.source) for each in group.servers] == [
        ("coins", "crypto"),
        ("wiki", "crypto"),
        ("db", "system"),
    ]


MEMORY = st.none() | st.integers(min_value=16, max_value=99)


@given(st.lists(st.tuples(MEMORY, st.booleans()), min_size=1, max_size=5), MEMORY)
def test_the_source_says_the_value_that_holds(
    chain: list[tuple[int | None, bool]], top: int | None
) -> None:
    namespaces: JsonObject = {}
    for index, (memory, guard) in enumerate(chain):
        namespaces[f"n{index}"] = {
            "extends": f"n{index - 1}" if index else None,
            "sandbox": {} if memory is None else {"memory_mb": memory},
            "require_auth": guard,
        }
    sandbox: JsonObject = {} if top is None else {"memory_mb": top}
    config = load_document({"namespaces": namespaces, "sandbox": sandbox}).config
    resolved = resolve(config)
    for name, story in explain(config).namespaces.items():
        value, source = by_key(story.settings)["sandbox.memory_mb"]
        assert value == resolved[name].limits.memory_mb
        said = {f"namespace n{index}": memory for index, (memory, _) in enumerate(chain)}
        assert value == {**said, "sandbox": top, "default": 256}[source]
        guarded, by = by_key(story.settings)["require_auth"]
        assert guarded == resolved[name].require_auth
        assert guarded == (by != "default")
