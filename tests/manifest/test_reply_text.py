"""A reply as text: what a model reads."""

import pytest

from mcproxy.manifest.reply_text import as_text
from mcproxy.manifest.search import search
from tests.manifest.samples import two_servers


@pytest.mark.requirement("search.reply_text")
def test_a_heading_and_a_line_are_the_call() -> None:
    heading, line, *_ = as_text(search(two_servers(), "open an issue", namespace="x")).split("\n")
    assert heading == 'api.server("github")'
    assert line == ".create_issue(repo, title) — Open a new issue"


@pytest.mark.requirement("search.reply_text")
def test_a_reply_without_tools_says_what_to_try() -> None:
    text = as_text(search(two_servers(), "purple elephant dancing", namespace="x"))
    assert text.startswith("No tool matches. Perhaps:\n")
    assert "servers here: github, weather" in text
