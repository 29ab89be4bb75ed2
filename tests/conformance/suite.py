"""The official conformance suite, run against one address.

The suite and the Node that it needs are pinned in ``tests/node``; where they are not installed,
what asks for them is skipped.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

MODULES = Path(__file__).parents[1] / "node/node_modules"
NODE = MODULES / "node/bin/node"
SUITE = MODULES / "@modelcontextprotocol/conformance/dist/index.js"
RUN_SECS = 50  # a run takes three
PASSED = {"SUCCESS", "INFO"}


def failures(url: str, revision: str, directory: Path) -> dict[str, str]:
    """Run what a revision requires; give the suite's words for each ``scenario: check`` that fails.

    A warning (a SHOULD that is not kept) and a check that was skipped count as failures.
    """
    if not (NODE.exists() and SUITE.exists()):
        pytest.skip("the conformance suite is not installed: make test installs it, given npm")
    options = ["--url", url, "--requirements", revision, "-o", str(directory)]
    command = [str(NODE), str(SUITE), "server", *options]
    run = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECS, check=False)
    assert "=== SUMMARY ===" in run.stdout, run.stdout + run.stderr
    return {name: said for name, said in _checks(directory) if said}


def _checks(directory: Path) -> Iterator[tuple[str, str]]:
    """Give each check by name, with what was wrong, or nothing."""
    wrong: dict[str, list[str]] = {}
    for path in sorted(directory.glob("*/checks.json")):
        scenario = path.parent.name.removeprefix("server-").rsplit("-", 6)[0]
        for check in json.loads(path.read_bytes()):
            said = wrong.setdefault(f"{scenario}: {check['name']}", [])
            if check["status"] not in PASSED:
                said.append(str(check.get("errorMessage", check["status"])))
    for name, said in wrong.items():
        yield name, "; ".join(said)
