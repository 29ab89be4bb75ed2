"""The extensions that the gateway understands. Nothing else, but an extension's own module, names
one."""

from collections.abc import Mapping, Sequence

from mcproxy.exchange import Upstream
from mcproxy.gateway.extensions import apps, skills
from mcproxy.gateway.extensions.extension import Extension
from mcproxy.gateway.extensions.tasks import ClientTasks
from mcproxy.types import JsonObject

OFFERED_TO_SERVERS: Mapping[str, JsonObject] = {apps.ID: apps.OFFERED_TO_SERVERS}
"""What servers are told of before any client is there, with the settings: one of the handshake era
is told nothing else, and others list their tools by it."""


def known_extensions(upstream: Upstream, tasks: ClientTasks) -> Sequence[Extension]:
    """All of them."""
    return apps.apps(), skills.skills(upstream), tasks.extension
