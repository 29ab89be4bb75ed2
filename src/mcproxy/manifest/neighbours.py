"""Words that mean nearly the same: ``bug`` and ``issue``, ``photo`` and ``image``. Read-only.

Owns the reading of ``neighbours.bin``, a table of some 8,000 word stems made offline by
``bench/neighbours.py``: so meaning costs a search a look-up, and no model and no library. Knows no
tool and no score.
"""

import struct
import sys
from array import array
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from importlib.resources import files
from itertools import accumulate

import msgspec

HEAD = struct.Struct("<III")  # stems, bytes of their list, neighbours
FULL = 255  # how a closeness of 1 is written


class Neighbours(msgspec.Struct, frozen=True, dict=True):
    """Stems by number, of phrases those of their words; those near stem N stand at
    ``starts[N]:starts[N + 1]``, nearest first."""

    stems: Sequence[str]
    number_of: Mapping[str, int]
    starts: Sequence[int]
    near: Sequence[int]
    closeness: Sequence[int]

    @cached_property
    def phrases(self) -> frozenset[str]:
        """The entries of more than one word, with spaces."""
        return frozenset(stem for stem in self.stems if " " in stem)

    @classmethod
    def read(cls, data: bytes) -> "Neighbours":
        """From the bytes of a file: head, stems by line, then for each stem its count of
        neighbours, all their numbers (16 bit, little end first), all their closeness (8 bit)."""
        stem_count, list_bytes, near_count = HEAD.unpack_from(data)
        at = HEAD.size + list_bytes
        stems = data[HEAD.size : at].decode().split("\n")
        starts = [0, *accumulate(data[at : at + stem_count])]
        at += stem_count
        near = array("H", data[at : at + 2 * near_count])
        if sys.byteorder == "big":
            near.byteswap()
        closeness = data[at + 2 * near_count :]
        numbers = {stem: number for number, stem in enumerate(stems)}
        return cls(stems, numbers, starts, near, closeness)

    def of(self, stem: str) -> list[tuple[str, float]]:
        """The stems near this one with their closeness (0-1), nearest first; none if unknown."""
        number = self.number_of.get(stem)
        if number is None:
            return []
        places = range(self.starts[number], self.starts[number + 1])
        return [(self.stems[self.near[at]], self.closeness[at] / FULL) for at in places]


@cache
def shipped() -> Neighbours:
    """The table that comes with the program; about 5 ms and 1.5 MB at first use."""
    return Neighbours.read(files(__package__).joinpath("neighbours.bin").read_bytes())
