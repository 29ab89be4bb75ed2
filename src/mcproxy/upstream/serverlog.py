"""Log lines about one server: its name stands before the text, and as the field ``server``."""

import logging
from collections.abc import MutableMapping

log = logging.getLogger("mcproxy.stderr")  # who keeps what servers write knows it by this name


class ServerLog(logging.LoggerAdapter[logging.Logger]):
    """``logger`` for what is said of ``server``; ``title`` stands before the text instead."""

    def __init__(self, logger: logging.Logger, server: str, title: str = "") -> None:
        super().__init__(logger, {"server": server})
        self._prefix = f"{title or server}: "  # a server's name has no "%"

    def process(
        self, msg: object, kwargs: MutableMapping[str, object]
    ) -> tuple[object, MutableMapping[str, object]]:
        """Add the name (``logging.LoggerAdapter``)."""
        return super().process(f"{self._prefix}{msg}", kwargs)


def log_stderr(server: str, text: str) -> None:
    """Log a line that a server wrote for people, which is what most of them log with."""
    if log.isEnabledFor(logging.DEBUG):  # some write thousands of lines a second
        log.debug("%s: stderr: %s", server, text, extra={"server": server, "line": text})
