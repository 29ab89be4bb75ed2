"""``api.stash``: JSON values that a script keeps by name for later ones.

A dict in looks, each use of which asks the gateway and waits for the answer; who may find what is
decided there.
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping

from mcproxy.sandbox.jail.script.preview import encoded
from mcproxy.sandbox.jail.script.promise import Calls, Promise, ToolError
from mcproxy.sandbox.jail.script.value import Json, to_json

_NOT_KEPT = "not_kept"  # the code of a failure: the gateway has nothing of that name


class Stash(MutableMapping[str, Json]):
    """Each read gives a copy: what was changed is kept once it is assigned again. ``limit`` is the
    size of a value in bytes; ``note`` takes what is to be said about converted ones."""

    def __init__(self, calls: Calls, limit: int, note: Callable[[list[str]], None]) -> None:
        self._calls, self._limit, self._note = calls, limit, note

    def __getitem__(self, name: str) -> Json:
        return self._asked("stash_get", {"name": name})

    def __setitem__(self, name: str, value: object) -> None:
        """Raises TypeError for a name that is no text, ToolError for a value over the limit."""
        if not isinstance(name, str):
            raise TypeError(f"a name in api.stash is a text, not {type(name).__name__}")
        converted, notes = to_json(_settled(value))
        self._note(notes)
        body = encoded(converted)
        if len(body) > self._limit:
            text = f"api.stash[{name!r}]: {len(body)} bytes, the limit is {self._limit}"
            raise ToolError(text, tool="stash", code="too_large")
        head = encoded(to_json({"name": name})[0])
        self._calls.start("", "stash_put", head, text=("json", body)).result()

    def __delitem__(self, name: str) -> None:
        self._asked("stash_delete", {"name": name})

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def __contains__(self, name: object) -> bool:
        return name in self._names()

    def __repr__(self) -> str:
        return f"<api.stash: {', '.join(map(repr, self)) or 'empty'}>"

    def _names(self) -> list[str]:
        names = self._asked("stash_list", {})
        return [str(name) for name in names] if isinstance(names, list) else []

    def _asked(self, service: str, arguments: Mapping[str, object]) -> Json:
        try:
            return self._calls.start("", service, encoded(to_json(arguments)[0])).result()
        except ToolError as error:
            if error.code != _NOT_KEPT:
                raise
            raise KeyError(error.message) from None


def _settled(value: object) -> object:
    """A call, or a list of calls, as its value: what is kept is kept at once."""
    if isinstance(value, list | tuple) and any(isinstance(item, Promise) for item in value):
        return [_settled(item) for item in value]
    return value.result() if isinstance(value, Promise) else value
