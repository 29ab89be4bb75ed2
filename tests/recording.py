"""The recording of a terminal in the documentation: real commands, real output, as a picture.

``python -m tests.recording`` takes it anew; a test compares.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

from mcproxy.types import JsonObject

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs/images/terminal.svg"
SLIPS: JsonObject = {
    "servers": {
        "time": {"comand": "uvx", "args": ["mcp-server-time"]},
        "files": {"command": "npx", "timeout_secs": "fast"},
    },
    "namespaces": {"work": ["tme"]},
}
MENDED: JsonObject = {
    "servers": {
        "time": {"command": "uvx", "args": ["mcp-server-time"]},
        "files": {"command": "npx", "timeout_secs": 20},
    },
    "namespaces": {"work": ["time"]},
}
_BOUND_SECS = 60
_LINE, _CHARACTER, _EDGE = 20, 8.43, 16  # pixels, of a monospaced font of 14


def recorded() -> list[str]:
    """What a terminal shows: commands after ``$``, and their output."""
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for document, comment in ((SLIPS, ""), (MENDED, "  # three slips mended")):
            (Path(folder) / "mcproxy.json").write_text(json.dumps(document))
            done = subprocess.run(
                [sys.executable, str(ROOT / "main.py"), "check"],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
                timeout=_BOUND_SECS,
            )
            shown = (done.stdout + done.stderr).replace(folder, "~").rstrip().splitlines()
            lines += [f"$ mcproxy check{comment}", *shown, f"$ echo $?\n{done.returncode}", ""]
    return "\n".join(lines).strip().splitlines()


def _kind(line: str) -> str:
    return "typed" if line.startswith("$") else "shown"


def picture(lines: list[str]) -> str:
    """The lines as an SVG."""
    width = round(max(map(len, lines)) * _CHARACTER) + 2 * _EDGE
    height = len(lines) * _LINE + 2 * _EDGE
    written = [
        f'<text x="{_EDGE}" y="{_EDGE + 14 + _LINE * number}" class="{_kind(line)}">'
        f"{escape(line)}</text>"
        for number, line in enumerate(lines)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            "<title>mcproxy check names every problem with its place</title>",
            "<style>rect{fill:#1e1e2e}text{fill:#cdd6f4;font:14px monospace;white-space:pre}"
            ".typed{fill:#a6e3a1}</style>",
            f'<rect width="{width}" height="{height}" rx="8"/>',
            *written,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(recorded()), encoding="utf-8")
