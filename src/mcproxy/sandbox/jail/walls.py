"""What the gateway asks of a zygote, as frozen values: the walls of one profile at one level, once,
and then what each worker has for its own.

They cross the control socket as JSON. Only values: how each wall is built is for the files named
after it.
"""

import json
from typing import Literal, NamedTuple

Wall = Literal["namespaces", "landlock", "cgroup"]


class Walls(NamedTuple):
    """The order to a zygote. Paths are absolute; sizes and times are per worker.

    ``packages`` are modules to import ahead, from ``package_path`` if need be.
    ``withhold`` names walls that this zygote must find refused, as on a lesser machine (tests).
    ``uid`` is taken by a zygote that starts as root.
    """

    namespaces: bool
    landlock: bool
    memory_mb: int
    cpu_secs: int
    scratch_mb: int
    open_files: int
    network: bool = False
    read_only: tuple[str, ...] = ()
    read_write: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    package_path: tuple[str, ...] = ()
    uid: int = 65534
    withhold: tuple[Wall, ...] = ()

    @property
    def paths(self) -> bool:
        """Whether files can be opened at all: not where nothing would say which."""
        return self.namespaces or self.landlock

    def encode(self) -> bytes:
        return json.dumps(self._asdict()).encode()

    @classmethod
    def decode(cls, text: bytes) -> "Walls":
        fields = json.loads(text)
        fields |= {name: tuple(v) for name, v in fields.items() if isinstance(v, list)}
        return cls(**fields)


class Own(NamedTuple):
    """What one worker has for itself: a scratch folder, where it cannot mount one, and the password
    with which the egress proxy knows it, where it shares a listener.

    ``warm``: it runs a script for practice first; not where somebody waits for it.
    """

    scratch: str | None = None
    token: str | None = None
    warm: bool = True

    @classmethod
    def decode(cls, text: bytes) -> "Own":
        return cls(**json.loads(text))
