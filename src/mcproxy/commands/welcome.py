"""The first screen of a gateway: where clients find it, how two of them are told, what walls its
scripts have, and each server once, as it becomes ready or fails."""

import json
from collections.abc import Mapping

from mcproxy.commands.screen import STYLES, Screen
from mcproxy.foreign_text import one_line
from mcproxy.observe.redact import Redactor
from mcproxy.types import SandboxReport, ServerHealth

_DEMO = """\
This is the bundled demo (servers: notes, calc). In another terminal, try:

  curl -s {url}/message -H 'Content-Type: application/json' \\
    -d '{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"search",\
"arguments":{{"query":"convert units"}}}}}}'

Your own servers: `mcproxy add NAME -- COMMAND`, or `mcproxy connect CLIENT` takes over a client's.
"""
_CLIENTS = """\
MCProxy {version} listens; clients find it at {url}/mcp

  Claude Code   claude mcp add --transport http mcproxy {url}/mcp
  Cursor        {cursor}
"""


class Welcome:
    """``url`` is the gateway's, without a path."""

    def __init__(self, screen: Screen, url: str) -> None:
        self._screen, self._url = screen, url
        self._redactor = Redactor()
        self._said: set[str] = set()

    def begin(self, version: str, *, demo: bool) -> None:
        """Once it listens."""
        entry = json.dumps({"mcpServers": {"mcproxy": {"url": f"{self._url}/mcp"}}})
        self._screen.line(_CLIENTS.format(version=version, url=self._url, cursor=entry))
        if demo:
            self._screen.line(_DEMO.format(url=self._url))

    def mask(self, redactor: Redactor) -> None:
        """Hide what this one knows: servers' last words are shown."""
        self._redactor = redactor

    def sandbox(self, report: SandboxReport) -> None:
        """Once its level is known."""
        lacking = f"; {len(report.missing)} notes: `mcproxy doctor`" if report.missing else ""
        self._screen.line(
            f"sandbox: {report.level}{lacking}. Stop: Ctrl-C. More: `mcproxy logs -f`."
        )

    def servers(self, health: Mapping[str, ServerHealth]) -> None:
        """Whenever something has changed."""
        for name, each in health.items():
            if name not in self._said and each.state not in ("starting", "idle", "disabled"):
                self._said.add(name)
                first = self._redactor.text(each.last_error or "").partition("; stderr:")[0]
                words = f"{each.tools} tools" if each.state == "ready" else one_line(first)
                self._screen.line(f"server {name}: {each.state}, {words}", STYLES[each.state])
