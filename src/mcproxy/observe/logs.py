"""Log formats: one JSON object a line for machines, or readable lines for people."""

import logging
import sys
from typing import TextIO

from pythonjsonlogger.json import JsonFormatter

READABLE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
FIELDS = ("asctime", "levelname", "name", "message")


def configure(*, readable: bool, stream: TextIO = sys.stderr) -> None:
    """Send all logs to ``stream``: readable at level DEBUG, else as JSON at level INFO."""
    handler = logging.StreamHandler(stream)
    if readable:
        handler.setFormatter(logging.Formatter(READABLE))
    else:
        names = {"asctime": "time", "levelname": "level", "name": "logger"}
        handler.setFormatter(JsonFormatter(FIELDS, rename_fields=names))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("mcproxy").setLevel(logging.DEBUG if readable else logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
