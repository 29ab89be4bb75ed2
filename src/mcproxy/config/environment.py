"""What servers and hooks get of the gateway's environment. Pure.

Few variables, so that no server sees the secrets of another: where programs and files are, and what
a company's network needs (its certificates, its proxies). A proxy whose URL has credentials in it
is itself a secret, and is given only to the servers whose ``env`` names it.
"""

from collections.abc import Mapping
from urllib.parse import unquote

PLACES = ("PATH", "HOME", "LANG", "TMPDIR", "TERM", "TZ")
CERTIFICATES = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
)
PROXIES = tuple(
    spelled
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    for spelled in (name, name.lower())
)

# Names of certificates, proxies and indexes of packages that only some programs read.
OF_SOME_PROGRAMS = (
    "NODE_OPTIONS",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "NPM_CONFIG_REGISTRY",
    "NPM_CONFIG_CAFILE",
    "NPM_CONFIG_PROXY",
    "NPM_CONFIG_HTTPS_PROXY",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_NATIVE_TLS",
    "PIP_INDEX_URL",
    "PIP_CERT",
    "PIP_CONFIG_FILE",
    "AWS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "DENO_CERT",
)


def child_environment(
    own: Mapping[str, str], configured: Mapping[str, str], *, isolated: bool
) -> dict[str, str]:
    """What a child gets: the configured variables over a few (not isolated: all) of ours."""
    return {**(passed(own) if isolated else own), **configured}


def passed(own: Mapping[str, str]) -> dict[str, str]:
    """What every child gets of our own environment."""
    secret = withheld(own)
    names = (*PLACES, *CERTIFICATES, *PROXIES)
    return {name: own[name] for name in names if name in own and name not in secret}


def withheld(own: Mapping[str, str]) -> tuple[str, ...]:
    """The proxy variables that no child gets, since there are credentials in them."""
    return tuple(name for name in PROXIES if "@" in own.get(name, ""))


def kept_back(own: Mapping[str, str]) -> tuple[str, ...]:
    """Variables that are set here, which some programs need, and no child gets."""
    small = tuple(name.lower() for name in OF_SOME_PROGRAMS if name.startswith("NPM_"))
    return tuple(name for name in (*OF_SOME_PROGRAMS, *small) if own.get(name))


def proxy_secrets(own: Mapping[str, str]) -> frozenset[str]:
    """The credentials in those, as they stand there and as they are meant."""
    users = (own[name].rpartition("@")[0].rpartition("//")[2] for name in withheld(own))
    parts = {part for user in users for part in (user, user.partition(":")[2]) if part}
    return frozenset(parts | {unquote(part) for part in parts})
