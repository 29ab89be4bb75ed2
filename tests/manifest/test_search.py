"""What ``search`` finds, and in which order and form."""

from typing import cast

import pytest

from mcproxy.manifest.bounds import READING_BYTES
from mcproxy.manifest.learned import learned_from, observed
from mcproxy.manifest.model import Manifest, build
from mcproxy.manifest.reply_text import as_text
from mcproxy.manifest.search import BadSearch, search
from mcproxy.types import Json, JsonObject, ServerState
from tests.manifest.samples import (
    github,
    many,
    names,
    results,
    size,
    tool,
    tools_of,
    two_servers,
    view,
    weather,
)


def tools_named(entry: JsonObject) -> list[Json]:
    listed = entry["matched_tools"]
    assert isinstance(listed, list)
    return [tool["name"] for tool in listed if isinstance(tool, dict)]


def ask(manifest: Manifest, query: str, max_depth: int = 2, limit: int | None = None) -> JsonObject:
    return search(manifest, query, namespace="public", max_depth=max_depth, limit=limit)


@pytest.mark.requirement("search.depths")
def test_each_depth_adds_members() -> None:
    manifest = two_servers()
    assert ask(manifest, "open an issue", 0)["results"] == [{"server": "github"}]
    (described,) = results(ask(manifest, "open an issue", 1))
    assert described == {
        "server": "github",
        "description": "Repositories, issues and pull requests",
        "tools": 4,
        "categories": ["repo", "issue", "code"],
    }
    (matched, *_) = tools_of(ask(manifest, "open an issue", 2))
    score = matched.pop("score")
    assert isinstance(score, float)
    assert 0 < score < 1
    assert matched == {
        "name": "create_issue",
        "summary": "Open a new issue",
        "call": 'await api.server("github").create_issue(repo, title)',
    }
    (whole, *_) = tools_of(ask(manifest, "open an issue", 3))
    assert whole["description"] == "Open a new issue."
    assert whole["inputSchema"] == github().tools[1].definition["inputSchema"]
    assert "outputSchema" not in whole


@pytest.mark.requirement("search.result")
def test_the_reply_repeats_what_was_asked_and_counts_tools() -> None:
    reply = ask(two_servers(), "flood")
    assert list(reply) == ["query", "namespace", "max_depth", "results", "total_matches"]
    assert (reply["query"], reply["namespace"], reply["max_depth"]) == ("flood", "public", 2)
    assert reply["total_matches"] == 1


def test_output_schema_is_shown_where_declared_and_returns_where_learned() -> None:
    declared = tool("x", "declared")
    declared = type(declared)(
        declared.ref, {**declared.definition, "outputSchema": {"type": "object"}}
    )
    manifest = build([view("x", declared, tool("x", "learned"))])
    learned = learned_from(observed([{"a": 1}], lambda _: True))
    reply = search(manifest, "x", namespace="n", max_depth=3, returns=lambda _: learned)
    entries = {str(entry["name"]): entry for entry in tools_of(reply)}
    assert entries["declared"]["outputSchema"] == {"type": "object"}
    assert "returns" not in entries["declared"]
    assert str(entries["declared"]["call"]).endswith(" -> dict")
    assert entries["learned"]["returns"] == {"results_seen": 1, "schema": learned.schema}
    assert str(entries["learned"]["call"]).endswith(" -> list[{a: int}]")


EXACT_FORMS = [
    "github.repos.list",
    "github:repos.list",
    "github__repos_list",
    "repos.list",
    "repos_list",
    "repos-list",
    "reposList",
    "  `repos.list`  ",
    "repos.list()",
]


@pytest.mark.requirement("search.exact_name")
@pytest.mark.parametrize("query", EXACT_FORMS)
def test_an_exact_name_is_first_and_at_depth_3_alone(query: str) -> None:
    other = view("other", tool("other", "list_repos", "List repos: repos list, repos list."))
    manifest = build([other, github()])
    assert names(ask(manifest, query))[0] == "repos.list"
    assert tools_of(ask(manifest, query))[0]["score"] == 1
    alone = ask(manifest, query, 3)
    assert names(alone) == ["repos.list"]
    assert alone["total_matches"] == 1


@pytest.mark.requirement("search.exact_name")
@pytest.mark.parametrize("query", ["get36krTrending", "get36kr_trending", "news.get36krTrending"])
def test_a_name_whose_words_end_elsewhere_is_exact(query: str) -> None:
    other = view("other", tool("other", "trending", "Get trending 36kr news, trending."))
    manifest = build([other, view("news", tool("news", "get-36kr-trending"))])
    first = tools_of(ask(manifest, query))[0]
    assert (first["name"], first["score"]) == ("get-36kr-trending", 1)


@pytest.mark.requirement("search.exact_name")
def test_a_name_within_a_sentence_is_first() -> None:
    reply = ask(two_servers(), "forecast of weather with search_code, please")
    assert names(reply)[0] == "search_code"
    assert "get_forecast" in names(reply)


def test_the_spelling_asked_for_comes_before_its_like() -> None:
    manifest = build([view("x", tool("x", "a.b"), tool("x", "a_b"))])
    assert names(ask(manifest, "a_b", 3)) == ["a_b", "a.b"]
    assert names(ask(manifest, "x.a.b", 3)) == ["a.b", "a_b"]


@pytest.mark.requirement("manifest.look_alikes")
def test_a_look_alike_is_never_the_exact_match() -> None:
    manifest = build([view("a", tool("a", "délete_file")), view("b", tool("b", "delete_file"))])
    first, *others = tools_of(search(manifest, "delete_file", namespace="public"))
    assert (first["name"], first["score"]) == ("delete_file", 1.0)
    assert all(other["score"] != 1.0 for other in others)
    (alone,) = tools_of(search(manifest, "delete_file", namespace="public", max_depth=3))
    assert alone["name"] == "delete_file"


def test_a_name_that_two_servers_have_finds_both() -> None:
    manifest = build([view("a", tool("a", "go")), view("b", tool("b", "go"))])
    assert [entry["server"] for entry in results(ask(manifest, "go", 3))] == ["a", "b"]
    assert [entry["server"] for entry in results(ask(manifest, "b.go", 3))] == ["b"]


@pytest.mark.requirement("search.by_name")
def test_what_tools_return_and_the_states_of_servers_count_as_they_are_written() -> None:
    invoices = [tool("", f"invoice_{number}", "Create an invoice.") for number in range(20)]
    shops = [view(f"shop{number}", *invoices, state="restarting") for number in range(5)]
    learned = learned_from(observed({f"part_{n}": 1 for n in range(8)}, lambda _: True))
    reply = search(build(shops), "create an invoice", namespace="public", returns=lambda _: learned)
    text = as_text(reply)
    assert " - restarting\n" in text
    assert " -> {part_0: int" in text
    assert "also" in reply
    assert READING_BYTES * 0.9 < len(text.encode()) < READING_BYTES + len("100 of 100 matches")


@pytest.mark.requirement("search.typos")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("forcast", "get_forecast"),
        ("forecats", "get_forecast"),
        ("repositores", "repos.list"),
        ("serach code", "search_code"),
        ("isue", "create_issue"),
        ("alrets", "getAlerts"),
        ("merge pul reqest", "merge-pull-request"),
    ],
)
def test_typing_errors_find_the_tool(query: str, found: str) -> None:
    assert names(ask(two_servers(), query))[0] == found


@pytest.mark.requirement("search.typos")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("creating issues", "create_issue"),
        ("merged pull requests", "merge-pull-request"),
        ("repository listing", "repos.list"),
        ("forecasts", "get_forecast"),
        ("repo", "repos.list"),
        ("alert", "getAlerts"),
        ("finding codes", "search_code"),
        ("STORM WARNING", "getAlerts"),
    ],
)
def test_word_forms_find_the_tool(query: str, found: str) -> None:
    assert names(ask(two_servers(), query))[0] == found


@pytest.mark.requirement("search.languages")
@pytest.mark.parametrize("query", ["天气", "查询天气", "城市的天气预报", "天气查询"])
def test_a_query_without_spaces_between_words(query: str) -> None:
    assert names(ask(two_servers(), query))[0] == "天气查询"


@pytest.mark.requirement("search.languages")
def test_accents_and_other_alphabets() -> None:
    manifest = build([view("x", tool("x", "a", "Prévisions météo"), tool("x", "b", "Погода"))])
    assert names(ask(manifest, "meteo previsions")) == ["a"]
    assert names(ask(manifest, "ПОГОДА")) == ["b"]


@pytest.mark.requirement("search.by_name")
def test_what_has_no_room_for_a_line_is_there_by_name() -> None:
    long = "Create an invoice for a customer of the shop, with all that it has to say on taxes"
    shops = [
        view(f"shop{n}", *(tool(f"shop{n}", f"invoice_{m}", long, customer="") for m in range(8)))
        for n in range(5)
    ]
    reply = ask(build(shops), "create an invoice for a customer")
    also = reply["also"]
    assert isinstance(also, dict)
    lines = {(entry["server"], name) for entry in results(reply) for name in tools_named(entry)}
    more = {(server, name) for server, found in also.items() for name in cast("list[str]", found)}
    assert len(lines) + len(more) == 40 == reply["total_matches"]
    assert lines.isdisjoint(more)
    text = as_text(reply)
    assert len(text.encode()) < READING_BYTES + len("40 of 40 matches")
    assert "Also (search a name for its call): shop" in text
    assert "also" not in ask(build(shops), "create an invoice for a customer", limit=10)
    assert "also" not in ask(build(shops), "create an invoice for a customer", 3)
    assert "also" not in ask(two_servers(), "forecast")


@pytest.mark.requirement("search.languages")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("weather", "queryWeather"),
        ("forecast for a city", "queryWeather"),
        ("train tickets", "tickets_search"),
        ("which station", "tickets_search"),
        ("send a message", "message-send"),
        ("recipient", "message-send"),
        ("earthquakes", "jishin_earthquake"),
    ],
)
def test_what_is_described_in_another_alphabet_is_found_by_its_names(
    query: str, found: str
) -> None:
    manifest = build(
        [
            view(
                "cn", tool("cn", "queryWeather", "查询指定城市的天气预报", city="required", days="")
            ),
            view("rail", tool("rail", "tickets_search", "查询余票信息", fromStation="required")),
            view("ru", tool("ru", "message-send", "Отправить сообщение", recipient_id="required")),
            view("jp", tool("jp", "jishin_earthquake", "最近の地震を調べる", limit="")),
            view("kr", tool("kr", "noteCreate", "메모를 만듭니다", body="required")),
        ]
    )
    assert names(ask(manifest, query))[0] == found


@pytest.mark.requirement("search.typos")
@pytest.mark.parametrize(
    "query",
    ["GIT_createBrnch", "GIT_cretaeBranch", "git_createBranhc", "GIT_craeteBranchV1"],
)
def test_a_misspelt_name_with_a_shouted_part_finds_the_tool(query: str) -> None:
    git = view(
        "git", tool("git", "GIT_createBranchV1", "Begin a branch."), tool("git", "GIT_logV1")
    )
    assert names(ask(build([git, weather()]), query))[0] == "GIT_createBranchV1"


@pytest.mark.requirement("search.meaning")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("open a ticket", "create_issue"),
        ("the next station", "none"),
        ("a notion", "none"),
        ("make a poll", "make_survey"),
    ],
)
def test_near_words_and_words_that_only_look_alike(query: str, found: str) -> None:
    manifest = build(
        [
            github(),
            view("forms", tool("forms", "make_survey", "A questionnaire for many people.")),
            view("notes", tool("notes", "add_note", "Note what the state is.")),
        ]
    )
    assert (names(ask(manifest, query)) or ["none"])[0] == found


@pytest.mark.requirement("search.phrases")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("get rid of a box", "delete_box"),
        ("getting rid of a box", "delete_box"),
        ("get a box", "get_box"),
        ("start over with the box", "reset_box"),
        ("start the box", "start_box"),
    ],
)
def test_words_that_mean_something_else_together(query: str, found: str) -> None:
    tools = [tool("boxes", f"{verb}_box") for verb in ("get", "start", "delete", "reset")]
    assert names(ask(build([view("boxes", *tools)]), query))[0] == found


def test_what_the_tools_do_not_know_may_be_a_value() -> None:
    manifest = build([view("stocks", tool("stocks", "get_news", "Articles on a company."))])
    assert names(ask(manifest, "get news about Xylbrofonax Qwertyzuiop")) == ["get_news"]
    assert not names(ask(manifest, "feed Xylbrofonax Qwertyzuiop"))


@pytest.mark.requirement("search.no_match")
@pytest.mark.parametrize(
    "query",
    [
        "purple elephant dancing",
        "qzxv",
        "bake a cake",
        "translate into klingon",
        "!!!",
        "的",
        "\x00",
    ],
)
@pytest.mark.parametrize("max_depth", range(4))
def test_no_match_gives_suggestions_and_no_noise(query: str, max_depth: int) -> None:
    reply = ask(two_servers(), query, max_depth)
    assert reply["results"] == []
    assert reply["total_matches"] == 0
    assert reply["suggestions"]


@pytest.mark.parametrize("query", ["\ud800", "x" * 100_000, "a.b " * 5_000, "issue \x00\x1b"])
def test_strange_queries_are_answered(query: str) -> None:
    for depth in range(4):
        assert size(ask(two_servers(), query, depth))


def test_a_server_asked_for_by_its_name_is_first() -> None:
    other = view("crawler", tool("crawler", "search_github", "Search GitHub."))
    assert results(ask(build([other, github()]), "github", 1))[0]["server"] == "github"


def test_a_weak_match_is_a_suggestion() -> None:
    suggestions = ask(two_servers(), "open sesame treasure cave")["suggestions"]
    assert isinstance(suggestions, list)
    assert suggestions[0] == "github.create_issue"


def test_no_server_at_all_is_said() -> None:
    reply = ask(build([]), "anything")
    assert reply["suggestions"] == ["namespace 'public' has no server; use another namespace"]
    assert ask(build([]), "")["results"] == []


@pytest.mark.requirement("search.empty_query")
@pytest.mark.parametrize("query", ["", "  ", "*"])
def test_an_empty_query_lists_every_server(query: str) -> None:
    manifest = build([*many(40, 5), view("empty")])
    everyone = [{"server": name} for name in manifest.servers]
    assert ask(manifest, query, 0, limit=1)["results"] == everyone
    for depth in (0, 1):
        reply = ask(manifest, query, depth)
        assert [entry["server"] for entry in results(reply)] == list(manifest.servers)
        assert reply["total_matches"] == 200
        assert "truncated" not in reply
    assert {frozenset(found) for found in tools_of(ask(manifest, query))} == {frozenset({"name"})}


@pytest.mark.requirement("search.arguments")
@pytest.mark.parametrize(
    ("query", "max_depth", "limit", "says"),
    [
        ("x", -1, 10, "use 0"),
        ("x", 4, 10, "3 "),
        ("x", 2, 0, "1 to 50"),
        ("x", 2, 51, "1 to 50"),
        ("", 3, 10, "needs a query"),
        (" * ", 3, 10, "needs a query"),
    ],
)
def test_bad_arguments_are_refused(query: str, max_depth: int, limit: int, says: str) -> None:
    with pytest.raises(BadSearch, match=says):
        ask(two_servers(), query, max_depth, limit)


@pytest.mark.requirement("search.limit")
def test_limit_takes_the_best_tools_over_all_servers() -> None:
    manifest = build(many(6, 10))
    whole = ask(manifest, "issue", limit=50)
    best = ask(manifest, "issue", limit=3)
    assert "truncated" not in best
    assert best["total_matches"] == whole["total_matches"]
    assert len(tools_of(best)) == 3
    scores = [found["score"] for found in tools_of(best)]
    assert scores == scores_in_order(whole)[:3]


def scores_in_order(reply: JsonObject) -> list[Json]:
    scores = [found["score"] for found in tools_of(reply) if isinstance(found["score"], float)]
    return [*sorted(scores, reverse=True)]


def test_the_server_of_the_best_tool_is_first() -> None:
    reply = ask(build(many(8, 20)), "merge invoice report")
    firsts = []
    for entry in results(reply):
        matched = entry["matched_tools"]
        assert isinstance(matched, list)
        scores = [tool["score"] for tool in matched if isinstance(tool, dict)]
        numbers = [score for score in scores if isinstance(score, float)]
        assert numbers == sorted(numbers, reverse=True)
        firsts.append(numbers[0])
    assert firsts == sorted(firsts, reverse=True)


@pytest.mark.requirement("search.state")
@pytest.mark.parametrize("state", ["failed", "restarting", "starting"])
def test_servers_that_are_not_well_are_marked(state: ServerState) -> None:
    manifest = build([github(state), weather()])
    for depth in (0, 1, 2):
        marks = [entry.get("state") for entry in results(ask(manifest, "", depth))]
        assert marks == [state, None]
    assert results(ask(manifest, "issue"))[0]["state"] == state


def test_an_idle_server_answers_as_ever() -> None:
    assert "state" not in results(ask(build([github("idle")]), "issue"))[0]


def test_a_failed_server_without_tools_is_found_by_its_name() -> None:
    manifest = build([weather(), view("postgres", state="failed")])
    reply = ask(manifest, "postgres query")
    assert results(reply)[-1]["server"] == "postgres"
    assert results(reply)[-1]["state"] == "failed"
    assert ask(manifest, "postgres")["total_matches"] == 0


@pytest.mark.requirement("search.visibility")
@pytest.mark.parametrize("query", ["", "issue", "github", "repos.list", "gihtub", "nothing known"])
def test_a_server_out_of_sight_leaves_no_trace(query: str) -> None:
    seen = two_servers().visible_to(["weather"])
    for depth in range(3):
        assert ask(seen, query, depth) == ask(build([weather()]), query, depth)
