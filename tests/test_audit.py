"""What a report about the dependencies comes to."""

from typing import Any

import pytest

from tests.audit import FAULTS, GOOD, NOT_AUDITED, verdict

CLEAN: dict[str, Any] = {"name": "a", "version": "1", "vulns": []}
FAULTY: dict[str, Any] = {
    **CLEAN,
    "name": "b",
    "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}],
}
SKIPPED: dict[str, Any] = {"name": "c", "skip_reason": "not found"}


@pytest.mark.requirement("security.audited")
@pytest.mark.parametrize(
    ("packages", "words", "status"),
    [
        ([CLEAN], "no known faults in 1 packages", GOOD),
        ([CLEAN, FAULTY], "b 1: CVE-1, mended in 2", FAULTS),
        ([FAULTY, SKIPPED], "b 1: CVE-1, mended in 2", FAULTS),
        ([CLEAN, SKIPPED], "not audited: no advisories are to be had here for 1 of 2", NOT_AUDITED),
        ([], "not audited", NOT_AUDITED),
    ],
)
def test_silence_is_no_clean_bill(packages: list[Any], words: str, status: int) -> None:
    lines, found = verdict({"dependencies": packages})
    assert found == status
    assert lines[0].startswith(words)
