"""Regular expressions that are compiled when they are first used.

Compiling one takes a tenth of a millisecond to some, and most of those that look for what is rare
(forms of secrets, words that instruct a model) are never asked: they would be a tenth of a start.
"""

import re
from functools import cached_property
from typing import cast


def pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """What ``re.compile`` gives, as far as its methods go: each costs no more than of that, from
    its second use on."""
    return cast("re.Pattern[str]", _Uncompiled(text, flags))


class _Uncompiled:
    """Takes each attribute of the compiled one over when it is first asked for."""

    def __init__(self, text: str, flags: int) -> None:
        self._source = (text, flags)

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(*self._source)

    def __getattr__(self, name: str) -> object:
        found: object = getattr(self._compiled, name)
        setattr(self, name, found)
        return found
