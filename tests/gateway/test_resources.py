"""Which template a URI may come of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.gateway.resources import matches


@pytest.mark.parametrize(
    ("template", "uri", "expected"),
    [
        ("note://{name}", "note://a", True),
        ("note://{name}", "note://a/b", False),
        ("note://{name}", "notes://a", False),
        ("file:///{+path}", "file:///a/b.txt", True),
        ("file://{/path*}", "file:///a/b.txt", True),
        ("db://{table}/rows{?limit,after}", "db://t/rows?limit=3", True),
        ("db://{table}/rows{?limit,after}", "db://t/rows", True),
        ("a.c://{x}", "abc://y", False),
        ("plain://uri", "plain://uri", True),
        ("{odd", "{odd", True),
        ("a{x}", "a", False),
        ("a.{x}|^$\\d", "a.b|^$\\d", True),
        ("lines://{+x}", "lines://a\n/b", True),
        ("{x}" * 700, "a" * 800, False),
    ],
)
def test_templates(template: str, uri: str, *, expected: bool) -> None:
    assert matches(template, uri) is expected


@pytest.mark.requirement("resources.linear")
@pytest.mark.parametrize("template", ["{a}" * 30 + "!", "{+a}" * 30 + "!", "{a}-" * 30 + "!"])
def test_no_template_takes_the_gateways_time(template: str) -> None:
    assert not matches(template, "a-" * 500_000)


@given(st.text(), st.text())
def test_any_template_can_be_tried(template: str, uri: str) -> None:
    assert matches(template, uri) in (True, False)
