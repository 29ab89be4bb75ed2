"""The page's files of others are those of their packages, and their licences are told."""

from pathlib import Path

import pytest

from tests.page.vendored import STATIC, digest, recorded, taken

OURS = {"page.css", "page.js", "plots.js", "icon.svg", "vendored.json"}
NOTICE = Path(__file__).parents[2] / "NOTICE"


@pytest.mark.requirement("page.files")
@pytest.mark.parametrize("name", sorted(recorded()))
def test_a_file_of_others_is_that_of_its_package(name: str) -> None:
    one = recorded()[name]
    body = (STATIC / name).read_bytes()
    assert digest(body) == one["sha256"]
    assert taken(one["package"], one["version"], one["path"]) == body
    told = f"{one['package']} {one['version']} ({one['licence']})"
    assert told in NOTICE.read_text()


def test_every_file_is_ours_or_recorded() -> None:
    assert {file.name for file in STATIC.iterdir()} == OURS | recorded().keys()
