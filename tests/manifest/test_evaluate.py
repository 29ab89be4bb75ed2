"""Requests made of a catalogue's own descriptions, and why tools are not found by them."""

import pytest

from mcproxy.manifest.evaluate import by_server, evaluate, recall
from mcproxy.manifest.model import build
from mcproxy.types import ServerView
from tests.manifest.samples import tool, view

GENERIC = tuple(f"g{number}" for number in range(10))


def shop() -> ServerView:
    """Tools of which some cannot be told apart, many say what all say, and one says nothing."""
    alike = [
        tool("shop", name, "Return all details of one order by its number.")
        for name in ("alpha", "beta", "gamma", "delta", "epsilon", "omega")
    ]
    generic = [tool("shop", name, "Return all details.") for name in GENERIC]
    return view("shop", *alike, *generic, tool("shop", "mute"))


@pytest.mark.requirement("search.evaluated")
def test_requests_have_neither_names_nor_words_of_one_tool_alone() -> None:
    manifest = build(
        [
            view(
                "maps",
                tool("maps", "geocode", "Geocode a street address into coordinates by zygomatics."),
                tool("maps", "distance", "Distance between coordinates of a street address."),
                tool("maps", "list_maps", "List maps."),
            )
        ]
    )
    requests = {each.ref.tool: each.request for each in evaluate(manifest)}
    assert requests == {
        "geocode": "street address coordinates",
        "distance": "coordinates street address",
        "list_maps": "list maps",  # there is nothing else to say
    }


@pytest.mark.requirement("search.evaluated")
def test_what_is_not_found_has_its_reason() -> None:
    evaluated = evaluate(build([shop()]))
    reasons = {each.ref.tool: each.reason for each in evaluated}
    assert reasons.pop("mute") == "no description"
    generic = {reasons.pop(name) for name in GENERIC}
    assert generic == {"", "only generic words"}
    assert reasons == {
        "alpha": "",
        "beta": "",
        "gamma": "",
        "delta": "",
        "epsilon": "",
        "omega": "collides with shop.alpha",
    }
    (last,) = (each for each in evaluated if each.ref.tool == "omega")
    assert [ref.tool for ref in last.instead] == ["alpha", "beta", "gamma"]
    assert recall(evaluated) == sum(each.found for each in evaluated) / len(evaluated)


@pytest.mark.requirement("search.evaluated")
def test_a_tool_that_another_hides_collides_with_it() -> None:
    alike = [tool("shop", f"get_{name}", "Weekly paper invoice.") for name in "abcdef"]
    filler = view("w", *(tool("w", f"w{n}", f"Word{n} and other{n % 9}.") for n in range(200)))
    evaluated = {each.ref.tool: each for each in evaluate(build([view("shop", *alike), filler]))}
    assert evaluated["get_f"].reason == "collides with shop.get_a"


def test_servers_have_their_share() -> None:
    evaluated = evaluate(build([shop(), view("empty")]))
    assert {name: len(own) for name, own in by_server(evaluated).items()} == {"shop": 17}
    assert recall(()) == 1.0
