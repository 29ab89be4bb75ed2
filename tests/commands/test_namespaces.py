"""``mcproxy namespaces``: the resolved tree as people read it."""

import pytest

from mcproxy.commands import namespaces
from mcproxy.commands.report import WrongUsage
from mcproxy.config.load import load_document
from mcproxy.types import JsonObject

DOCUMENT: JsonObject = {
    "servers": {
        "wikipedia": {"command": "c"},
        "covalent": {"command": "c", "sandbox": {"memory_mb": 64}},
        "supabase": {"command": "c", "env": {"KEY": "canary-secret"}, "enabled": False},
    },
    "namespaces": {
        "public": ["wikipedia"],
        "crypto": {
            "extends": "public",
            "servers": ["covalent"],
            "sandbox": {"memory_mb": 512},
        },
        "system": {"require_auth": True, "isolated": True, "servers": ["supabase"]},
        "none": [],
    },
    "groups": {"everything": ["crypto", "!system"]},
    "auth": {"tokens": [{"name": "a", "token": "canary-token", "namespaces": ["system"]}]},
}
CONFIG = load_document(DOCUMENT).config

CRYPTO = """\
namespace crypto (extends public)
  servers
    covalent
    wikipedia  from public
  settings
    mode                           code     default
    rate_limit                     none     default
    concurrency                    none     default
    require_auth                   no       default
    allowed_origins                none     default
    isolated                       no       default
    read_only                      no       default
    ask_for                        nothing  default
    sandbox.timeout_secs           30       default
    sandbox.memory_mb              512      namespace crypto
    sandbox.max_calls              200      default
    sandbox.env_isolation          yes      default
    sandbox.packages               none     default
    sandbox.network.enabled        yes      default
    sandbox.network.allowed_hosts  none     default
    sandbox.filesystem.read_only   none     default
    sandbox.filesystem.read_write  none     default
    sandbox.filesystem.denied      none     default"""


@pytest.mark.requirement("cli.namespaces")
def test_one_namespace_with_the_source_of_everything() -> None:
    report = namespaces.run(CONFIG, "crypto")
    assert report.text == CRYPTO
    assert report.status == 0


def test_groups_and_servers_can_be_asked_for() -> None:
    group = namespaces.run(CONFIG, "everything").lines
    assert group[0] == "group everything (members crypto, system)"
    assert group[4] == "    supabase   from system"
    server = namespaces.run(CONFIG, "supabase").lines
    assert server[0] == "server supabase (disabled, reached through system, everything)"


@pytest.mark.requirement("cli.namespaces")
def test_a_guarded_namespace_says_who_opens_it() -> None:
    jwt: JsonObject = {
        "issuer": "https://x.org",
        "audience": "a",
        "scopes": {"sys": ["system"], "wide": ["*"], "other": ["crypto"]},
    }
    auth: JsonObject = {"tokens": [{"name": "a", "token": "t", "namespaces": ["*"]}], "jwt": jwt}
    config = load_document({**DOCUMENT, "auth": auth}).config
    told = [" ".join(line.split()) for line in namespaces.run(config, "system").lines]
    assert "opened_by token a, scope sys, scope wide auth" in told
    assert "opened_by" not in namespaces.run(config, "crypto").text


@pytest.mark.requirement("cli.namespaces")
def test_without_a_name_everything_is_told_and_no_secret() -> None:
    report = namespaces.run(CONFIG)
    starts = [line.split(" (")[0] for line in report.lines if line and not line.startswith(" ")]
    assert starts == [
        "namespace public",
        "namespace crypto",
        "namespace system",
        "namespace none",
        "group everything",
        "server wikipedia",
        "server covalent",
        "server supabase",
    ]
    assert "  servers: none" in report.lines
    assert "canary" not in report.text


def test_an_unknown_name_is_wrong_usage_with_a_hint() -> None:
    with pytest.raises(WrongUsage, match="did you mean 'crypto'"):
        namespaces.run(CONFIG, "cripto")


def test_the_demo_needs_no_namespace() -> None:
    assert namespaces.run(load_document({}).config).lines[0] == "namespace public (default)"
