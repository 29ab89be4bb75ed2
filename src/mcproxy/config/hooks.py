"""The sections about hooks: what is done around a refresh, and before a server starts.

A hook is a name that the gateway knows, a command to run, or a URL to tell. What each does is for
``mcproxy.hooks`` and ``mcproxy.upstream``.
"""

from typing import Annotated, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from mcproxy.config.fields import Section, Text, refusal
from mcproxy.types import Event

REFRESH_HOOKS = ("health_check_all", "drain_connections", "restart_failed", "notify_monitors")
START_HOOKS = ("pull_image",)


class HookSpec(Section):
    """One hook: a name, or ``{"command": […]}``, or ``{"webhook": "https://…"}``."""

    name: Text | None = None
    command: tuple[Text, ...] | None = Field(
        default=None, min_length=1, description="Program and arguments; status 0 means success."
    )
    webhook: Text | None = Field(
        default=None, description="URL that gets a POST with the event.", repr=False
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if len([one for one in (self.name, self.command, self.webhook) if one is not None]) != 1:
            raise refusal("must be a name, or have either 'command' or 'webhook'")
        if self.webhook and not self.webhook.startswith(("http://", "https://")):
            raise refusal("webhook must be a URL that starts with http:// or https://")
        return self


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


Hook: TypeAlias = Annotated[
    HookSpec, BeforeValidator(_named, json_schema_input_type=str | HookSpec)
]


class RefreshHooks(Section):
    """What is done around a refresh of what clients see."""

    pre_refresh: tuple[Hook, ...] = Field(
        default=(), description="Done before; the first that fails stops the refresh."
    )
    post_refresh: tuple[Hook, ...] = Field(default=(), description="Done afterwards.")
    events: tuple[Event, ...] = Field(
        default=("startup", "config_change", "manual"),
        description="The events that have these hooks around them; others refresh at once.",
    )


class ServerHooks(Section):
    """What is done around one server's life."""

    pre_start: tuple[Hook, ...] = Field(
        default=(),
        description="Done before each start of its process; one that fails makes the start fail. "
        "'pull_image': docker or podman pulls the newest image first.",
    )
