"""What runs and is still worth a line in the log: settings without effect, likely slips. Pure."""

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from mcproxy.config.auth import openers
from mcproxy.config.hooks import REFRESH_HOOKS, START_HOOKS
from mcproxy.config.hosts import is_public_host
from mcproxy.config.inherit import lineage, parents
from mcproxy.config.jsonc import written
from mcproxy.config.model import ANY, Config, ServerConfig
from mcproxy.config.validation_messages import did_you_mean

_STDIO_ONLY = ("args", "env", "cwd")
_HTTP_ONLY, _REMOTE_ONLY = ("headers",), ("transport",)
_API_ONLY = ("base_url", "credentials", "operations", "refresh_secs")
_KINDS = {
    "url": ("a remote server", (*_HTTP_ONLY, *_REMOTE_ONLY)),
    "openapi": ("an API", (*_HTTP_ONLY, *_API_ONLY)),
    "command": ("a server with a command", _STDIO_ONLY),
}
_OF_THE_START = ("level", "min_level", "pool_size", "uv_path")  # of ``sandbox``
_SCRIPTS_ONLY = ("network", "filesystem", "packages", "max_calls")


def notes(config: Config) -> Iterator[str]:
    """One line for each thing that does not do what its writer may expect."""
    for name, server in config.servers.items():
        yield from _without_effect(written(("servers", name)), server)
    yield from _unopened(config)
    yield from _opened_in_vain(config)
    yield from _on_the_open_wire(config)
    yield from _unknown_hooks(config)


def of_the_next_start(before: Config, now: Config) -> Iterator[str]:
    """The settings that have changed and count from the next start on."""
    for name in _OF_THE_START:
        if getattr(before.sandbox, name) != getattr(now.sandbox, name):
            yield f"sandbox.{name}"
    yield from (
        name
        for name in ("results", "state", "audit")
        if getattr(before, name) != getattr(now, name)
    )


def _without_effect(path: str, server: ServerConfig) -> Iterator[str]:
    kind, used = next(_KINDS[key] for key in _KINDS if key == "command" or getattr(server, key))
    for key in (*_STDIO_ONLY, *_HTTP_ONLY, *_REMOTE_ONLY, *_API_ONLY):
        if key in server.model_fields_set and key not in used:
            yield f"{path}.{key}: has no effect for {kind}"
    if not server.command and server.refresh_hooks.pre_start:
        yield f"{path}.refresh_hooks.pre_start: has no effect for {kind}: it has no process here"
    for key in _SCRIPTS_ONLY:
        if key in server.sandbox.model_fields_set:
            yield f"{path}.sandbox.{key}: has no effect; for scripts the namespace's sandbox counts"


def _unopened(config: Config) -> Iterator[str]:
    opened = {name for opener in openers(config.auth) for name in opener.namespaces}
    for name, section in config.namespaces.items():
        if section.require_auth and not opened & {name, ANY}:
            path = written(("namespaces", name, "require_auth"))
            yield f"{path}: no token of auth opens this namespace; nobody can use it"


def _opened_in_vain(config: Config) -> Iterator[str]:
    extends = parents(config)
    for name, section in config.namespaces.items():
        if "require_auth" not in section.model_fields_set or section.require_auth:
            continue
        guards = [
            ancestor
            for ancestor in lineage(extends, name)
            if ancestor in config.namespaces and config.namespaces[ancestor].require_auth
        ]
        if guards:
            path = written(("namespaces", name, "require_auth"))
            yield f"{path}: false has no effect, since {guards[0]!r} requires authentication"


def _on_the_open_wire(config: Config) -> Iterator[str]:
    rules = config.auth.jwt
    for key in ("issuer", "jwks_url"):
        url = str(getattr(rules, key, None) or "")
        if url.startswith("http://") and is_public_host(urlsplit(url).hostname or ""):
            yield f"auth.jwt.{key}: http lets whoever is on the way put in other keys; use https"


def _unknown_hooks(config: Config) -> Iterator[str]:
    hooks = config.manifests.refresh_event_hooks
    for key, listed in (("pre_refresh", hooks.pre_refresh), ("post_refresh", hooks.post_refresh)):
        named = [hook.name for hook in listed if hook.name]
        yield from _unknown(f"manifests.refresh_event_hooks.{key}", named, REFRESH_HOOKS)
    for name, server in config.servers.items():
        path = written(("servers", name, "refresh_hooks", "pre_start"))
        named = [hook.name for hook in server.refresh_hooks.pre_start if hook.name]
        yield from _unknown(path, named, START_HOOKS)


def _unknown(path: str, named: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    for hook in named:
        if hook not in known:
            hint = did_you_mean(hook, known)
            yield f"{path}: there is no hook {hook!r}; it does nothing ({hint})"
