"""How alike two written words or names are. Pure; knows no index."""

from collections.abc import Iterable

from mcproxy.manifest.text import snake

# Below these lengths too many different words look alike.
MIN_ONE_ERROR, MIN_TWO_ERRORS = 4, 8
# Names less alike than this are not offered as "did you mean".
LEAST_SIMILARITY = 0.5
MAX_TYPED_ERRORS = 2
MAX_NEAR_CHARS = 200  # a longer text is no name that somebody mistyped


def allowed_errors(word: str) -> int:
    """How many typing errors a word of this length may carry."""
    if not word.isascii() or not word.isalpha():
        return 0
    return (len(word) >= MIN_ONE_ERROR) + (len(word) >= MIN_TWO_ERRORS)


def letter_set(word: str) -> int:
    """The letters of a word as bits: words that differ in n edits differ in at most 2n bits."""
    bits = 0
    for char in word:
        bits |= 1 << (ord(char) & 31)
    return bits


def edit_distance(one: str, other: str, most: int) -> int:
    """Insertions, deletions, changes and swaps of neighbours between two words.

    Optimal string alignment (Damerau-Levenshtein without repeated edits). Gives ``most + 1`` as
    soon as the distance is known to be more than ``most``.
    """
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, char in enumerate(one, 1):
        before, previous, row = row, before, [i]
        for j, target in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (char != target))
            if i > 1 and j > 1 and char == other[j - 2] and one[i - 2] == target:
                cost = min(cost, previous[j - 2] + 1)
            row.append(cost)
        if min(row) > most and (not before or min(before) > most):
            return most + 1
    return min(row[-1], most + 1)


def near(asked: str, names: Iterable[str], count: int = 3) -> list[str]:
    """The names that ``asked`` may have meant, most alike first.

    Finds typing errors, other word order, and a word too many or too few (a missing prefix).
    """
    if len(asked) > MAX_NEAR_CHARS:
        return []
    asked_form = snake(asked)
    compared = (name for name in names if len(name) <= MAX_NEAR_CHARS)
    rated = sorted((-_similarity(asked_form, snake(name)), name) for name in compared)
    return [name for rating, name in rated[:count] if -rating >= LEAST_SIMILARITY]


def _similarity(one: str, other: str) -> float:
    """Of two names in snake form, 0-1."""
    longest = max(len(one), len(other), 1)
    errors = edit_distance(one, other, MAX_TYPED_ERRORS)
    typed = 1 - errors / longest if errors <= MAX_TYPED_ERRORS else 0.0
    mine, theirs = _letter_pairs(one), _letter_pairs(other)
    shared = 2 * len(mine & theirs) / max(len(mine) + len(theirs), 1)
    return max(typed, shared)


def _letter_pairs(name: str) -> set[str]:
    """Pairs of neighbours in each word, its ends included; so the order of words is no matter."""
    words = (f"^{word}$" for word in name.split("_") if word)
    return {word[at : at + 2] for word in words for at in range(len(word) - 1)}
