"""Known faults of the dependencies: ``python -m tests.audit REQUIREMENTS`` (``make audit``).

``pip-audit`` asks PyPI, and succeeds though it was told nothing: where a registry knows no
advisories, as mirrors often do, each package is skipped. Here that is a failure of its own, so that
nobody takes silence for a clean bill.
"""

import json
import subprocess
import sys
from typing import Any

GOOD, FAULTS, NOT_AUDITED = 0, 1, 3
_COMMAND = ("tool", "run", "--quiet", "pip-audit==2.10.1", "--disable-pip", "--require-hashes")
_SECS = 600.0  # the advisories of a hundred packages, one request each


def verdict(report: Any) -> tuple[list[str], int]:
    """What a report of pip-audit (``--format json``) comes to: lines, and the exit status."""
    packages = report["dependencies"]
    faults = [
        f"{each['name']} {each['version']}: {fault['id']}, "
        f"mended in {', '.join(fault['fix_versions']) or 'no version yet'}"
        for each in packages
        for fault in each.get("vulns", ())
    ]
    skipped = [each["name"] for each in packages if "skip_reason" in each]
    if faults:
        return faults, FAULTS
    if skipped or not packages:
        count = f"{len(skipped)} of {len(packages)} packages"
        return [f"not audited: no advisories are to be had here for {count}"], NOT_AUDITED
    return [f"no known faults in {len(packages)} packages"], GOOD


def main(requirements: str) -> int:
    """Ask, and tell."""
    done = subprocess.run(
        ["uv", *_COMMAND, "--format", "json", "-r", requirements],
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECS,
    )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        print(f"not audited: pip-audit failed: {last}")  # noqa: T201
        return NOT_AUDITED
    lines, status = verdict(report)
    print("\n".join(lines))  # noqa: T201
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
