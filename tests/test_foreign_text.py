"""What acts on a terminal or hides from people is taken out; what people write stays."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.foreign_text import bounded, clean, hides, imitated, is_seen, label, one_line

# text -> what is left of it
HOSTILE = {
    "a colour": ("a\x1b[31mred\x1b[0m b", "ared b"),
    "a window's title": ("\x1b]0;owned\x07x", "x"),
    "a link": ("\x1b]8;;http://a\x1b\\link", "link"),
    "a string without an end": ("a\x1b]0;no end", "a0;no end"),
    "a reset": ("a\x1bcb", "ab"),
    "an eight-bit sequence": ("a\x9b2Jb", "a2Jb"),
    "an escape in two parts": ("a\x1b\u200b[2Jb", "a[2Jb"),
    "a carriage return": ("good\rOK", "good\nOK"),
    "Windows' line end": ("a\r\nb", "a\nb"),
    "other line ends": ("a\x0bb\x0cc\x85d\u2028e\u2029f", "a\nb\nc\nd\ne\nf"),
    "backspaces": ("bad\b\b\bOK", "badOK"),
    "a NUL": ("a\0b\x7f", "ab"),
    "a bidirectional override": ("a\u202etxt.exe\u202c", "atxt.exe"),
    "an isolate": ("\u2066a\u2069\u200f\u061c", "a"),
    "a zero-width space": ("ig\u200bnore", "ignore"),
    "a joiner that joins nothing": ("a\u200db\u200c\u2060\ufeff", "ab"),
    "joiners in a row": ("👩\u200d\u200d\u200d👩", "👩👩"),
    "tags": ("a\U000e0041\U000e0042b", "ab"),
    "selectors that carry bytes": ("x\ufe0f\U000e0100\U000e01ef\ufe00", "x"),
    "selectors in a row": ("❤\ufe0f\ufe0f\ufe0e", "❤\ufe0f"),
    "fillers": ("a\u115f\u3164\uffa0b\u00ad\u034f", "ab"),
    "half of a pair": ("a\ud800b", "ab"),
}
READABLE = (
    "plain words, a tab\tand\nlines",
    "汉字と仮名、한글",
    "العربية فارسی می‌خواهم",
    "עברית",
    "क्‍ष हिन्दी ශ්‍රී ലങ്ക",
    "ไทย ខ្មែរ မြန်မာ",
    "Grüße, café, naïve, Łódź, e\u0301",
    "👩‍👩‍👧‍👦 👩🏽‍💻 ❤️‍🔥 🏳️‍🌈 1️⃣ 👍🏽 🇩🇪 ✔︎",
    "∀x ∈ ℝ: ⌈x⌉ − x ≥ 0 → “quoted” …",  # noqa: RUF001
    "\ue0b0 a glyph of a private area",
)


@pytest.mark.requirement("text.clean")
@pytest.mark.parametrize("title", HOSTILE)
def test_what_acts_or_hides_is_taken_out(title: str) -> None:
    text, left = HOSTILE[title]
    assert clean(text) == left
    assert hides(text) is (clean(text.replace("\r", "\n")) != text.replace("\r", "\n"))


@pytest.mark.requirement("text.readable")
@pytest.mark.parametrize("text", READABLE)
def test_what_people_write_stays(text: str) -> None:
    assert clean(text) == text
    assert not hides(text)


@pytest.mark.requirement("text.clean")
@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\x1b[]m;\r\n\u200d\ufe0f👩❤"))))
def test_nothing_is_left_that_acts(text: str) -> None:
    left = clean(text)
    assert clean(left) == left
    assert not hides(left)
    assert {unicodedata.category(char) for char in set(left) - set("\n\t")}.isdisjoint(
        {"Cc", "Cs", "Zl", "Zp"}
    )


@given(st.text(), st.integers(1, 50))
def test_one_line_is_one_line(text: str, most: int) -> None:
    assert len(one_line(text, most).splitlines()) <= 1
    assert len(bounded(text, most)) <= most + 40


def test_what_is_cut_says_so() -> None:
    assert bounded("x" * 12, 10) == "xxxxxxxxxx… (2 more characters)"
    assert bounded("x" * 10, 10) == "x" * 10


def test_a_label_shows_what_hides() -> None:
    assert label("del\u200bete\n", 100) == r"'del\u200bete\n'"
    assert label("löschen", 100) == "löschen"
    assert not is_seen("a\tb")


def test_a_name_in_other_letters_imitates_a_plain_one() -> None:
    assert imitated("dеlete") == "delete"  # noqa: RUF001 - the Cyrillic letter is what is tested
    assert imitated("ｄｅｌｅｔｅ") == "delete"  # noqa: RUF001
    for honest in ("delete", "délete", "удалить", "删除", "löschen"):
        assert imitated(honest) is None
