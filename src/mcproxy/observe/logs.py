"""Log formats: one JSON object a line for machines, or readable lines for people.

Everything in a line passes the ``Redactor`` before it is encoded, so that no secret is in it and
nothing that acts on a terminal; further lines of a message are marked, so that none looks like a
line of its own. What a line is about (``server``, ``tool``, ``call`` and the like) is given with
``extra``: as JSON each is a member of the object; for people it stands in the text already.
"""

import io
import logging
import sys
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

from mcproxy.observe.redact import Redactor
from mcproxy.observe.repeated import RepeatLimit

READABLE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
FIELDS = ("asctime", "levelname", "name", "message")
_FURTHER = "\n  | "


def configure(
    *, readable: bool, stream: TextIO | io.TextIOBase = sys.stderr, redactor: Redactor | None = None
) -> None:
    """Send all logs to ``stream``: readable at level DEBUG, else as JSON at level INFO.

    Without a ``redactor`` what has the shape of a token is masked; call it again when the secrets
    of the configuration are known.
    """
    handler = logging.StreamHandler(stream)
    told = redactor or Redactor()
    handler.setFormatter(ReadableFormatter(told) if readable else LineFormatter(told))
    handler.addFilter(RepeatLimit(handler.handle))
    tell_counts()
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("mcproxy").setLevel(logging.DEBUG if readable else logging.INFO)
    for library in ("uvicorn", "httpx", "httpx2"):  # httpx tells every URL, and some hold a key
        logging.getLogger(library).setLevel(logging.WARNING)


def tell_counts() -> None:
    """Tell of the lines that were held back so far, see ``RepeatLimit``; before the end."""
    for handler in logging.getLogger().handlers:
        for each in handler.filters:
            if isinstance(each, RepeatLimit):
                each.close()


def configure_for_command(redactor: Redactor | None = None) -> None:
    """Send what goes wrong to stderr, readable, for a command whose own report is the rest.

    Without it Python prints warnings that nobody masked.
    """
    configure(readable=True, redactor=redactor)
    logging.getLogger("mcproxy").setLevel(logging.WARNING)


class ReadableFormatter(logging.Formatter):
    """Lines for people: message, arguments and exception alike are masked."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__(READABLE)
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, and marked ones for what it has beside."""
        return self._redactor.text(super().format(record)).replace("\n", _FURTHER)


class LineFormatter(JsonFormatter):
    """One JSON object a line; message, exception and extra fields alike are masked."""

    def __init__(self, redactor: Redactor) -> None:
        names = {"asctime": "time", "levelname": "level", "name": "logger"}
        super().__init__(FIELDS, rename_fields=names)
        self._redactor = redactor

    def process_log_record(self, log_record: dict[str, Any]) -> dict[str, Any]:
        """Mask the values while they are values (``JsonFormatter``)."""
        return {key: self._redactor.whole(value) for key, value in log_record.items()}
