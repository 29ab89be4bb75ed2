"""The configuration that the gateway falls back to when the user has none."""

from pathlib import Path

from mcproxy.demo.schema import JsonObject


def demo_config(python: str) -> JsonObject:
    """Return a configuration with the two demo servers in the namespace ``public``.

    ``python`` is the interpreter that runs the gateway, so that the demo needs no other. With
    ``-P`` it does not import from the working directory, whatever lies there; ``PYTHONPATH`` is
    where this program lies, which need not be installed.
    """
    found: JsonObject = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    return {
        "servers": {
            "notes": {
                "command": python,
                "args": ["-P", "-m", "mcproxy.demo.notes"],
                "env": {
                    **found,
                    "MCPROXY_NOTES_DB": "${MCPROXY_NOTES_DB:-}",
                    "XDG_STATE_HOME": "${XDG_STATE_HOME:-}",
                },
                "description": "Keep notes in a local file: add, search, tag, edit, delete.",
            },
            "calc": {
                "command": python,
                "args": ["-P", "-m", "mcproxy.demo.calc"],
                "env": found,
                "description": "Exact arithmetic: units, dates, statistics, percentages, bases.",
            },
        },
        "namespaces": {"public": ["notes", "calc"]},
    }
