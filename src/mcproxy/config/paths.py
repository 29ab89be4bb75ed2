"""How a place inside a configuration is written: ``servers.github.args[0]``. Pure.

Keys that would read wrongly in that form (server names may contain dots) are quoted:
``servers["my.server"].command``.
"""

import json
import re
from typing import TypeAlias

Step: TypeAlias = str | int
Steps: TypeAlias = tuple[Step, ...]

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_$-]+")


def written(steps: Steps) -> str:
    """Write the steps from the top of the document as one path; no steps give ``""``."""
    return "".join(map(_part, steps)).removeprefix(".")


def _part(step: Step) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if _PLAIN_KEY.fullmatch(step):
        return f".{step}"
    return f"[{json.dumps(step, ensure_ascii=False)}]"
