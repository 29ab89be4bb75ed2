"""Whatever stands in a file: it loads, or it is refused with problems. Nothing else happens."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcproxy.config.auth import JwtConfig, TokenConfig
from mcproxy.config.load import Loaded, load_document
from mcproxy.config.model import Config, NamespaceConfig, ServerConfig
from mcproxy.config.sandbox import Sandbox, SandboxOverride
from mcproxy.errors import ConfigError, Problem
from mcproxy.policy.access import policy_of
from mcproxy.types import Json, JsonObject

NAMES = ["a", "b", "public", "!a", "bad name", "_c", "${UNSET_VARIABLE}", "*", "", "http://x", "é"]
words = st.sampled_from(NAMES)
SECTIONS = (Config, Sandbox, SandboxOverride, ServerConfig, NamespaceConfig, TokenConfig, JwtConfig)
keys = st.sampled_from([key for section in SECTIONS for key in section.model_fields])
scalars = st.none() | st.booleans() | st.integers(-2, 100) | st.floats(allow_nan=False) | words
values: st.SearchStrategy[Json] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | words, inner, max_size=3),
    max_leaves=8,
)


def some(*names: str) -> st.SearchStrategy[Json]:
    """An object with any of these keys, or something else altogether."""
    sections: st.SearchStrategy[Json] = st.fixed_dictionaries(
        {}, optional=dict.fromkeys(names, values)
    )
    return sections | values


servers = some("command", "url", "args", "env", "namespace", "sandbox", "enabled", "name")
namespaces = some(
    "extends", "servers", "isolated", "sandbox", "rate_limit", "concurrency", "require_auth"
)
documents: st.SearchStrategy[JsonObject] = st.fixed_dictionaries(
    {},
    optional={
        "servers": st.dictionaries(words, servers, max_size=3) | st.lists(servers, max_size=2),
        "namespaces": st.dictionaries(words, namespaces, max_size=3),
        "groups": st.dictionaries(words, some("namespaces"), max_size=2),
        "auth": some("tokens", "jwt"),
        "sandbox": some("level", "network", "filesystem", "default_namespace"),
        "other": values,
    },
)


def outcome(document: JsonObject) -> Loaded | tuple[Problem, ...]:
    try:
        return load_document(document)
    except ConfigError as refused:
        return refused.problems


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(documents)
def test_it_runs_or_says_why_not(document: JsonObject) -> None:
    found = outcome(document)
    if isinstance(found, Loaded):
        policy = policy_of(found.config)
        assert policy.default in policy.endpoints
        reached = {name for each in policy.endpoints.values() for name in each.servers}
        assert reached == set(found.config.servers)
    else:
        assert found
        assert len(set(found)) == len(found)
