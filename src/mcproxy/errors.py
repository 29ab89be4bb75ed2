"""Every exception that somebody catches, and the facts it carries.

    McproxyError
    ├── ConfigError            the configuration is refused: every problem at once     (exit 78)
    ├── SandboxUnavailable     the sandbox cannot reach ``sandbox.min_level``          (exit 78)
    ├── RpcError               a JSON-RPC error, as sent to a client or got from a peer
    ├── PeerClosed             the other end of a session is gone
    └── CallError              one tool call failed: ``call_errors``

Messages are made inside, from facts, so that each fault reads the same wherever it arises.
"""

from collections.abc import Sequence

import msgspec

from mcproxy.types import Cause, Json


class McproxyError(Exception):
    """Root of the exceptions that MCProxy raises on purpose. ``cause`` sorts it, where it says why
    a server is not there."""

    cause: Cause | None = None


def cause_of(error: BaseException | None) -> Cause | None:
    """What an exception, or one behind it, says of why a server is not there."""
    while error is not None:
        if isinstance(error, McproxyError) and error.cause:
            return error.cause
        error = error.__cause__
    return None


class Problem(msgspec.Struct, frozen=True):
    """One fault of a configuration: where (a JSON path), what was wrong, what to do."""

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(McproxyError):
    """A configuration that cannot be used, with all its problems."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{source}: {len(self.problems)} problem(s)\n{lines}")


class SandboxUnavailable(McproxyError):
    """The best sandbox level that this machine proves is below the one demanded."""

    def __init__(self, reached: str, wanted: str, probe: str, cure: str) -> None:
        self.reached, self.wanted, self.probe, self.cure = reached, wanted, probe, cure
        super().__init__(
            f"sandbox level {wanted!r} is required, this machine reaches {reached!r}: "
            f"{probe}. {cure}"
        )


class RpcError(McproxyError):
    """A JSON-RPC 2.0 error object (section 5.1): ``code``, ``message`` and optional ``data``.

    ``retry_after`` is not written: in so many seconds the same request may succeed.
    """

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    URL_ELICITATION_REQUIRED = -32042

    def __init__(
        self,
        code: int,
        message: str,
        data: Json = None,
        *,
        retry_after: int | None = None,
        cause: Cause | None = None,
    ) -> None:
        self.code, self.message, self.data = code, message, data
        self.retry_after, self.cause = retry_after, cause
        super().__init__(message)


class PeerClosed(McproxyError):
    """The session ended before the reply came; ``reason`` says why as far as it is known.

    ``retry_after``: the server lives, and wants to be asked again in so many seconds.
    """

    def __init__(
        self, reason: str, *, retry_after: float | None = None, cause: Cause | None = None
    ) -> None:
        self.reason, self.retry_after, self.cause = reason, retry_after, cause
        super().__init__(reason)
