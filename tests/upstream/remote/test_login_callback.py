"""What the browser brings back from a login, and what it is shown."""

import asyncio
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from mcproxy.upstream.remote.login_callback import Landing, LoginAnswer, NoAnswer, pasted_answer

STATE = "s-1"
BASE = "http://127.0.0.1:1/callback"


@pytest.mark.requirement("remote.login_pasted")
@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (f"{BASE}?code=c%2F1&state=s-1", LoginAnswer("c/1")),
        (f"  {BASE}?state=s-1&code=c&iss=https%3A%2F%2Fa.example \r\n", LoginAnswer("c", iss="https://a.example")),
        ("?code=c&state=s-1", LoginAnswer("c")),
        ("code=c&state=s-1", LoginAnswer("c")),
        ("4/0AbC-d_e==", LoginAnswer("4/0AbC-d_e==")),
    ],
)  # fmt: skip
def test_an_answer_is_read(text: str, answer: LoginAnswer) -> None:
    assert pasted_answer(text, STATE) == answer


@pytest.mark.requirement("remote.login_refused")
@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("error=access_denied", "said no (access_denied)"),
        ("error=server_error&error_description=oh%0Ano", "try again later (server_error: oh no)"),
        ("error=odd%1b%5B31m", "gave no login (odd [31m)"),
    ],
)
def test_a_refusal_is_told_in_clear_words(query: str, words: str) -> None:
    assert words in pasted_answer(f"{BASE}?{query}&state=s-1", STATE).refusal


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "copy the whole address"),
        ("two words", "copy the whole address"),
        (BASE, "copy the whole address"),
        ("http://[", "copy the whole address"),
        (f"{BASE}?code=c&state=s-2", "another login"),
        (f"{BASE}?code=c", "another login"),
        (f"{BASE}?error=access_denied&state=ü", "another login"),
    ],
)
def test_what_is_no_answer(text: str, why: str) -> None:
    with pytest.raises(NoAnswer, match=why):
        pasted_answer(text, STATE)


@pytest.fixture
def landing() -> Iterator[Landing]:
    with Landing() as landing:
        yield landing


def idle(landing: Landing) -> socket.socket:
    """A connection on which nothing is ever sent, as browsers open them."""
    return socket.create_connection(("127.0.0.1", urlsplit(landing.uri).port or 0))


@pytest.mark.requirement("remote.login_browser")
async def test_only_the_answer_to_this_login_counts(landing: Landing) -> None:
    async with asyncio.TaskGroup() as tasks, httpx.AsyncClient(trust_env=False) as browser:
        answer = tasks.create_task(landing.answer(STATE))
        with idle(landing), idle(landing) as garbled:
            garbled.sendall(b"\0\0\r\n\r\n")
            for query in ("", "?x", "?code=x", "?code=x&state=s-2", "?error=access_denied"):
                stranger = await browser.get(landing.uri + query)
                assert stranger.status_code == 400
            assert (await browser.get(landing.uri.replace("callback", "favicon"))).is_error
            assert (await browser.post(f"{landing.uri}?code=x&state={STATE}")).is_error
            assert not answer.done()
            page = await browser.get(f"{landing.uri}?code=secret-1&state={STATE}")
        assert page.status_code == 200
        assert "You can close this tab" in page.text
        assert "secret-1" not in page.text
        assert page.headers["Referrer-Policy"] == "no-referrer"
    assert answer.result() == LoginAnswer("secret-1")


@pytest.mark.requirement("remote.login_browser")
def test_the_port_is_of_the_loopback_interface_and_may_be_chosen(landing: Landing) -> None:
    port = urlsplit(landing.uri).port or 0
    assert landing.uri == f"http://127.0.0.1:{port}/callback"
    with pytest.raises(OSError, match="in use"):
        Landing(port)
