"""Texts that clients carry for us."""

from hypothesis import given
from hypothesis import strategies as st

from mcproxy.gateway.signed_state import SignedState

SECS = 600.0


class Clock:
    """Time that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.text(), st.text(), st.text())
def test_it_opens_for_its_purpose_only(purpose: str, other: str, text: str) -> None:
    seal = SignedState(SECS, Clock())
    sealed = seal.close(purpose, "kind", text)
    assert seal.open(purpose, sealed) == ("kind", text)
    assert (seal.open(other, sealed) is None) == (other != purpose)
    assert SignedState(SECS, Clock()).open(purpose, sealed) is None


@given(st.text())
def test_what_was_not_sealed_does_not_open(text: str) -> None:
    assert SignedState(SECS, Clock()).open("", text) is None


@given(st.integers(min_value=0, max_value=10**9), st.integers(min_value=1, max_value=255))
def test_altered_texts_do_not_open(position: int, change: int) -> None:
    seal = SignedState(SECS, Clock())
    sealed = bytearray(seal.close("p", "k", "text").encode())
    sealed[position % len(sealed)] ^= change
    altered = sealed.decode("latin-1")
    assert seal.open("p", altered) is None


def test_it_does_not_open_for_ever() -> None:
    clock = Clock()
    seal = SignedState(SECS, clock)
    sealed = seal.close("p", "k", "text")
    clock.now = SECS - 1
    assert seal.open("p", sealed)
    clock.now = SECS
    assert seal.open("p", sealed) is None
