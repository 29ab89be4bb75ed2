"""The explanation of a score is that of the ranking: its parts add up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.manifest.explain import explain
from mcproxy.manifest.model import build
from mcproxy.manifest.rank import name_factor, rank
from tests.manifest.samples import NOUNS, VERBS, github, many, two_servers, weather

CATALOGUE = build([*many(4, 12), github(), weather()])
WORDS = (*NOUNS, *VERBS, "isue", "bug", "two", "pull", "storms", "github", "xyzzy", "of the")


@pytest.mark.requirement("page.explained")
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join))
def test_the_shares_of_the_words_add_up_to_the_score(query: str) -> None:
    ranking = rank(CATALOGUE.lexicon, query)
    why = explain(CATALOGUE.lexicon, query, [match.number for match in ranking.matches])
    for match in ranking.matches:
        told = why[match.number]
        assert sum(word.share for word in told.words) == pytest.approx(match.score)


def test_an_explanation_says_what_was_read_into_a_word() -> None:
    manifest = two_servers()
    (number,) = (
        number for number, tool in enumerate(manifest.tools) if tool.ref.tool == "create_issue"
    )
    words = explain(manifest.lexicon, "new isue xyzzy", [number])[number].words
    assert [(word.word, bool(word.share), word.where) for word in words] == [
        ("new", True, "tool"),
        ("isue", True, "tool"),
        ("xyzzy", False, ""),
    ]
    assert [word.is_other for word in words] == [False, True, False]
    assert name_factor(frozenset(), {}) < 1
