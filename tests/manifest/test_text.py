"""How text is cut into terms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.manifest.spelling import edit_distance
from mcproxy.manifest.text import brief, first_sentence, parts, snake, stem, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("List GitHub repos!", ["list", "github", "repos"]),
        ("café ÉTÉ", ["cafe", "ete"]),
        ("Ｆｕｌｌ width", ["full", "width"]),  # noqa: RUF001
        ("查询天气", ["查询", "询天", "天气"]),
        ("天 PDF转换", ["天", "pdf", "转换"]),
        ("한국어", ["한국", "국어"]),
        ("Погода сейчас", ["погода", "сейчас"]),
        ("snake_case web3", ["snake", "case", "web3"]),
        ("", []),
    ],
)
def test_words(text: str, found: list[str]) -> None:
    assert words(text) == found


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("repos.list", "repos_list"),
        ("reposList", "repos_list"),
        ("API-get-user", "api_get_user"),
        ("getHTTPPage", "get_http_page"),
        ("a__b//c", "a_b_c"),
        ("getV2Page", "get_v2_page"),
    ],
)
def test_snake_and_parts(name: str, form: str) -> None:
    assert snake(name) == form
    assert parts(name) == form.split("_")


@pytest.mark.requirement("manifest.look_alikes")
def test_the_form_of_a_name_keeps_its_letters() -> None:
    assert snake("dateiLöschen") == "datei_löschen"
    assert snake("cafe\u0301.Liste") == "café_liste"
    assert len(set(map(snake, ("delete", "délete", "ｄｅｌｅｔｅ")))) == 3  # noqa: RUF001


@pytest.mark.parametrize(
    "forms",
    [
        "create creates created creating creation",
        "repository repositories",
        "search searches searched searching",
        "list lists listed listing",
        "file files",
        "get gets getting",
        "box boxes",
        "query queries queried querying",
        "translate translation translating translations",
    ],
)
def test_word_forms_share_a_stem(forms: str) -> None:
    assert len({stem(word) for word in forms.split()}) == 1


@pytest.mark.parametrize("pair", ["access acces", "status statu", "user use", "news new"])
def test_different_words_keep_different_stems(pair: str) -> None:
    one, other = pair.split()
    assert stem(one) != stem(other)


@given(st.text(), st.integers(0, 60))
def test_brief_keeps_its_limit(text: str, limit: int) -> None:
    short = brief(text, limit)
    assert len(short.encode()) <= limit
    assert short == text or limit < len(text.encode())


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("\n# Title\nMore. And more.", "Title"),
        ("Lists e.g. files. Then more", "Lists e.g"),
        ("查询天气。更多", "查询天气。"),
        ("", ""),
        ("  spread \t out ", "spread out"),
    ],
)
def test_first_sentence(text: str, first: str) -> None:
    assert first_sentence(text) == first


@pytest.mark.parametrize(
    ("one", "other", "most", "distance"),
    [
        ("list", "list", 2, 0),
        ("list", "lsit", 1, 1),
        ("list", "lst", 1, 1),
        ("list", "lists", 1, 1),
        ("list", "last", 1, 1),
        ("list", "tsil", 1, 2),
        ("", "ab", 2, 2),
        ("repository", "reposotry", 2, 2),
    ],
)
def test_edit_distance(one: str, other: str, most: int, distance: int) -> None:
    assert edit_distance(one, other, most) == distance


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_edit_distance_is_symmetric_and_early_exit_is_right(one: str, other: str) -> None:
    whole = edit_distance(one, other, 12)
    assert edit_distance(other, one, 12) == whole
    assert edit_distance(one, other, 2) == min(whole, 3)
