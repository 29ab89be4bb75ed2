"""What a server is about, in up to three words: the nouns that most of its tools' names share.

``create_issue``, ``list_issues``, ``merge_pull_request`` -> ``issue``, ``pull``, ``request``.
Only names are read: they are short, deliberate, and the reader sees them beside the category.
"""

from collections.abc import Iterable

from mcproxy.manifest.text import STOP_WORDS, parts, singular

MAX_CATEGORIES = 3
MIN_LETTERS = 3

_VERBS_TEXT = (
    "accept activate add analyze append apply approve archive assign attach batch build bulk call "
    "cancel change check clear click clone close complete compute configure connect convert copy "
    "count create deactivate delete deploy describe detach diff disable download drop edit enable "
    "execute export extract fetch fill filter find format generate get handle import insert "
    "inspect install invite join launch leave link list load lock log lookup make manage map mark "
    "merge modify monitor move navigate open parse patch pause ping play post preview process "
    "publish pull purge push put query read recommend refresh reject reload remove rename reopen "
    "replace request reset resize resolve restart restore resume retrieve revert reverse review "
    "revoke rollback run save scan scrape search select send set setup share show sort start stop "
    "submit subscribe suggest summarize switch sync take test toggle track transfer trigger undo "
    "uninstall unlink unlock unsubscribe update upload upsert validate verify view wait watch "
    "write"
)
_FILLERS_TEXT = "all api batch bulk data detail details mcp multiple new server tool"
_NO_NOUNS = frozenset(f"{_VERBS_TEXT} {_FILLERS_TEXT}".split()) | STOP_WORDS


def categorise(server: str, tools: Iterable[str]) -> tuple[str, ...]:
    """The nouns of these tool names that occur in most of them, most frequent first."""
    own = {singular(word) for word in parts(server)}
    counts: dict[str, int] = {}
    for tool in tools:
        nouns = (singular(word) for word in parts(tool))
        for noun in dict.fromkeys(noun for noun in nouns if _is_noun(noun) and noun not in own):
            counts[noun] = counts.get(noun, 0) + 1
    ordered = sorted(counts, key=lambda noun: -counts[noun])
    return tuple(ordered[:MAX_CATEGORIES])


def _is_noun(word: str) -> bool:
    return len(word) >= MIN_LETTERS and not word[0].isdigit() and word not in _NO_NOUNS
