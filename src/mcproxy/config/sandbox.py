"""The ``sandbox`` sections: the global one, and what a namespace or a server may change of it.

Only shape, defaults and units; what a level means on this machine is for ``mcproxy.sandbox``.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from mcproxy.config.fields import AbsolutePath, Name, Seconds, Section, Text, no_boolean
from mcproxy.config.hosts import public_host
from mcproxy.types import Level, Limits

_LIMITS = Limits()

Megabytes = Annotated[int, Field(ge=16, le=1 << 20), BeforeValidator(no_boolean)]
MaxCalls = Annotated[int, Field(ge=1, le=10_000), BeforeValidator(no_boolean)]
PoolSize = Annotated[int, Field(ge=0, le=64), BeforeValidator(no_boolean)]
Host = Annotated[str, AfterValidator(public_host)]
# A requirement never starts with a dash: it would reach the installer as an option.
Requirement = Annotated[str, Field(pattern=r"^[A-Za-z0-9]")]


class Network(Section):
    """What scripts reach: HTTPS on port 443 and HTTP on port 80 of the allowed hosts."""

    enabled: bool = Field(default=True, description="false: scripts have no network at all.")
    allowed_hosts: tuple[Host, ...] = Field(
        default=(),
        description="Host names, '*.example.org' for all below a name, '*' for every public host.",
    )


class Filesystem(Section):
    """Which files of the host scripts see, besides the standard library; nothing by default."""

    read_only: tuple[AbsolutePath, ...] = Field(default=(), description="Paths that may be read.")
    read_write: tuple[AbsolutePath, ...] = Field(
        default=(), description="Paths that may be written too."
    )
    denied: tuple[AbsolutePath, ...] = Field(
        default=(), description="Paths that stay hidden even below an allowed one."
    )


class SandboxOverride(Section):
    """What a namespace changes of the global sandbox; keys left out are inherited.

    In a server's definition only ``timeout_secs`` (bounds one call), ``memory_mb`` (caps its
    process) and ``env_isolation`` have an effect.
    """

    timeout_secs: Seconds | None = Field(
        default=None, description="Time of one script, in seconds."
    )
    memory_mb: Megabytes | None = Field(default=None, description="Memory of one script, in MiB.")
    max_calls: MaxCalls | None = Field(
        default=None, description="Upstream calls that one script may make."
    )
    env_isolation: bool | None = Field(
        default=None, description="false: the servers inherit the gateway's whole environment."
    )
    packages: tuple[Requirement, ...] | None = Field(
        default=None, description="Python packages that scripts may import."
    )
    network: Network | None = None
    filesystem: Filesystem | None = None


class Sandbox(Section):
    """How scripts are contained, and the defaults that namespaces inherit."""

    level: Literal["auto", Level] = Field(
        default="auto", description="'auto' takes the best level that this machine proves at start."
    )
    min_level: Level = Field(
        default="hardened", description="Below this level the gateway refuses to start."
    )
    default_namespace: Name = Field(
        default="public",
        description="The namespace of requests that name none, and of servers in none.",
    )
    timeout_secs: Seconds = Field(
        default=_LIMITS.timeout_secs, description="Time of one script, in seconds."
    )
    memory_mb: Megabytes = Field(
        default=_LIMITS.memory_mb, description="Memory of one script, in MiB."
    )
    max_calls: MaxCalls = Field(
        default=_LIMITS.max_calls, description="Upstream calls that one script may make."
    )
    env_isolation: bool = Field(
        default=True,
        description="Servers get only the variables of 'env' and a few basic ones such as PATH.",
    )
    pool_size: PoolSize = Field(
        default=2, description="Workers kept ready for each sandbox profile."
    )
    packages: tuple[Requirement, ...] = Field(
        default=(), description="Python packages that scripts may import."
    )
    network: Network = Network()
    filesystem: Filesystem = Filesystem()
    uv_path: Text | None = Field(
        default=None, description="The 'uv' that installs packages; by default the one in PATH."
    )
