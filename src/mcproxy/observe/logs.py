"""Log formats: one JSON object a line for machines, or readable lines for people. No secrets.

What a line is about (``server``, ``tool``, ``call`` and the like) is given with ``extra``: as JSON
each is a member of the object; for people it stands in the text already.
"""

import io
import logging
import sys
from typing import TextIO

from pythonjsonlogger.json import JsonFormatter

from mcproxy.observe.redact import RedactingFormatter, Redactor
from mcproxy.observe.repeated import RepeatLimit

READABLE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
FIELDS = ("asctime", "levelname", "name", "message")


def configure(
    *, readable: bool, stream: TextIO | io.TextIOBase = sys.stderr, redactor: Redactor | None = None
) -> None:
    """Send all logs to ``stream``: readable at level DEBUG, else as JSON at level INFO.

    Without a ``redactor`` what has the shape of a token is masked; call it again when the secrets
    of the configuration are known.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(RedactingFormatter(_formatter(readable), redactor or Redactor()))
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


def _formatter(readable: bool) -> logging.Formatter:
    if readable:
        return logging.Formatter(READABLE)
    names = {"asctime": "time", "levelname": "level", "name": "logger"}
    return JsonFormatter(FIELDS, rename_fields=names)
