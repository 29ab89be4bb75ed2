"""The worker: reads one job from its socket, runs it, sends exactly one result or error.

It is used in two ways: ``__main__`` starts it in a process of its own, and the zygote forks and
calls ``run``. Importing it has no side effects. It knows nothing of walls, and the gateway trusts
nothing that it sends.
"""

import _socket
import json
import mmap
import struct
from collections.abc import Callable
from typing import NamedTuple

from mcproxy.sandbox.jail.channel import Channel
from mcproxy.sandbox.jail.script import running as script
from mcproxy.sandbox.jail.script.api import Api
from mcproxy.sandbox.jail.script.loops import Tasks, befriend
from mcproxy.sandbox.jail.script.output import Output, captured, prepare_output
from mcproxy.sandbox.jail.script.preview import (
    MAX_PREVIEW_BYTES,
    encoded,
    preview,
    take_blocks,
)
from mcproxy.sandbox.jail.script.promise import Calls, Promise, ToolError
from mcproxy.sandbox.jail.script.reading import findings, read, refusal
from mcproxy.sandbox.jail.script.reading import notes as finding_notes
from mcproxy.sandbox.jail.script.report import Report, report
from mcproxy.sandbox.jail.script.source import ScriptSource
from mcproxy.sandbox.jail.script.value import Json, to_json
from mcproxy.sandbox.jail.script.watch import Watch

_RESERVE_BYTES = 2 << 20  # given back when memory runs out, so that this can be reported
_LENGTH = struct.Struct("<I")


class ScriptJob(NamedTuple):
    """The job frame: a script and the limits that it should respect on its own; and the manifest,
    which follows it.

    The gateway enforces the limits all the same; here they give clearer errors, sooner.
    """

    source: str
    memory_mb: int
    argument_bytes: int
    result_bytes: int
    stdout_bytes: int
    reading: str
    timeout_secs: float
    manifest: bytes


_FIELDS = ScriptJob._fields[:-1]  # of the frame itself


class NotBegun(Exception):  # what it says
    """A script that is not run: what its reading has found is certain to fail."""


class Stage(NamedTuple):
    """What a process has ready for its script. It is made before a fork; a script may be practised
    on it, again and again."""

    tasks: Tasks
    watch: Watch

    def practise(self, script: bytes) -> None:
        """Take a script of ``practice`` through the whole path, so that the first real one finds
        all pages and caches in place."""
        ours, theirs = _socket.socketpair()
        theirs.sendall(script)
        _work(_Answering(ours, theirs), self)
        ours.close()
        theirs.close()


def staged() -> Stage:
    """Make this process ready for scripts, once."""
    tasks, watch = Tasks(), Watch()
    befriend(tasks)
    prepare_output()
    return Stage(tasks, watch)


def run(sock_fd: int, stage: Stage) -> None:
    """Serve one job on a connected stream socket, which is then at its end."""
    sock = _socket.socket(fileno=sock_fd)
    _work(Channel(sock), stage)
    sock.close()


def _work(channel: Channel, stage: Stage) -> None:
    fields = json.loads(channel.read_one().decode())  # of bytes it would look for the encoding
    known = {name: fields[name] for name in _FIELDS}
    job = ScriptJob(**known, manifest=channel.read_one())
    channel.send(*_serve(job, channel, stage))
    if not stage.tasks.loop.is_closed():
        stage.tasks.loop.remove_reader(channel.fileno())  # the loop may outlive the socket


def practice(source: str) -> bytes:
    """The frames of a job that is done for practice."""
    fields = {**dict.fromkeys(_FIELDS, 1 << 20), "source": source, "reading": "first"}
    return b"".join(_LENGTH.pack(len(one)) + one for one in (json.dumps(fields).encode(), b"{}"))


USUAL = practice("""
api.server("s").t(x=1)
""")
MANIFOLD = practice("""
import json
class A: pass
print([i for i in range(9)])
async def run():
    got = await asyncio.gather(api.server("s").t(x=1), asyncio.sleep(0))
    return json.loads(json.dumps({"a": [1, 2.5, "x"], "b": api.call_tool("s", "t"), "c": got}))
""")


class _Answering(Channel):
    """A channel whose other end answers every call at once, for want of a gateway."""

    def __init__(self, sock: _socket.socket, other: _socket.socket) -> None:
        super().__init__(sock)
        self._other = other
        self._answered = 0

    def send(self, *bodies: bytes) -> None:
        super().send(*bodies)
        if bodies[0].startswith(b'{"t": "call"'):
            self._answered += 1
            reply = b'{"t":"reply","id":%d,"result":{"content":[]}}' % self._answered
            self._other.sendall(_LENGTH.pack(len(reply)) + reply)


def _serve(job: ScriptJob, channel: Channel, stage: Stage) -> tuple[bytes, ...]:
    """Run the job; gives the last frames."""
    reserve = mmap.mmap(-1, _RESERVE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    notes: list[str] = []
    try:
        value = _run(job, channel, stage, notes, reserve)
        converted, more = to_json(value)
        return _result_frames(converted, _unique(notes + more), job.result_bytes)
    except MemoryError as error:
        reserve.close()
        return (_error_frame(_out_of_memory(report(error), job.memory_mb), notes),)
    except NotBegun as refused:
        (finding,) = refused.args
        told = Report("CheckError", finding.message, finding.line, hint=finding.advice or None)
        return (_error_frame(told, notes),)
    except BaseException as error:  # noqa: BLE001  # whatever ends a script is for its author
        return (_error_frame(report(error), notes),)


def _result_frames(value: Json, notes: list[str], limit: int) -> tuple[bytes, ...]:
    """The result; a large one as a preview, and then whole in a frame of its own."""
    body = encoded(value)
    if len(body) > limit:
        return (_error_frame(_too_large(len(body), limit), notes),)
    rest, blocks = take_blocks(value, body)
    shown = encoded(rest) if blocks else body
    whole = (body,) if len(shown) > MAX_PREVIEW_BYTES else ()
    if whole:
        shown = encoded(preview(rest))
    head = b'{"t":"result","notes":%b,"blocks":%b,"whole":%b,"value":%b}' % (
        _ascii(notes),
        encoded(blocks),
        b"true" if whole else b"false",
        shown,
    )
    return (head, *whole)


def _run(
    job: ScriptJob, channel: Channel, stage: Stage, notes: list[str], reserve: mmap.mmap
) -> object:
    calls = Calls(channel, notes.append)
    output = Output(lambda text: channel.send(_ascii({"t": "out", "s": text})), job.stdout_bytes)
    api = Api(calls, job.manifest, job.argument_bytes, job.result_bytes, notes.extend)
    tasks = stage.tasks
    with captured(output, notes.append), stage.watch.over(calls, channel, job.timeout_secs):
        tasks.begin()
        source = script.parse_script(job.source)
        notes.extend(source.notes)
        reading = _begin_reading(source, calls) if job.reading != "none" else None
        program = script.compile_script(source.tree)  # while the gateway looks
        if reading is not None:
            notes.extend(reading())
        if job.reading == "only":
            notes.append("check_only: the script was read and not run")
            return None
        names = script.namespace(api)
        sent = calls.sent
        value = _spared(reserve, lambda: script.run(program, names, tasks.loop))
        failed = calls.drain()
        unseen = tasks.failure() if failed is None else failed.failure()
        if unseen is not None:
            raise unseen
        if value is None and not output.written:
            return _shown(program, names, notes, called=calls.sent > sent)
        return value


def _begin_reading(source: ScriptSource, calls: Calls) -> Callable[[], list[str]]:
    """Read a script; what is given waits for what the gateway says of its calls, and gives what
    there is to note, or raises NotBegun."""
    names, uses = read(source.text, source.tree)
    asked = calls.start("", "check", json.dumps({"calls": uses}).encode()) if uses else None

    def end() -> list[str]:
        found = findings(names, [] if asked is None else _faults(asked))
        if refused := refusal(found):
            raise NotBegun(refused)
        return finding_notes(found)

    return end


def _faults(asked: Promise) -> Json:
    try:
        answer = asked.result()
    except ToolError:
        return []  # what cannot be asked is left to the run
    return answer.get("faults") if isinstance(answer, dict) else []


def _shown(
    program: script.Program, names: dict[str, object], notes: list[str], *, called: bool
) -> object:
    """What to give of a script that gives nothing itself and has printed nothing."""
    variable = script.assigned_last(program, names)
    if variable is not None:
        notes.append(f"no result was given: this is `{variable}`, which was assigned last")
        return names[variable]
    if not called:
        notes.append(script.silence(program, names))
    return None


def _spared(reserve: mmap.mmap, work: Callable[[], object]) -> object:
    """Do ``work``; where memory runs out, make room before the exception goes on its way.

    When it passes a ``with`` or a ``finally``, CPython (3.11 and later) needs room for an integer,
    and tries without end where there is none.
    """
    try:
        return work()
    except MemoryError:
        reserve.close()
        raise


def _ascii(value: object) -> bytes:
    return json.dumps(value).encode()


def _unique(notes: list[str]) -> list[str]:
    return list(dict.fromkeys(notes))


def _error_frame(facts: Report, notes: list[str]) -> bytes:
    return _ascii({"t": "error", **facts._asdict(), "notes": _unique(notes)})


def _too_large(size: int, limit: int) -> Report:
    return Report(
        "ResultLimit",
        f"The result has {size} bytes as JSON; the limit is {limit}.",
        hint="Return only what is needed: filter, count or slice inside the script.",
    )


def _out_of_memory(facts: Report, memory_mb: int) -> Report:
    return facts._replace(
        type="MemoryLimit",
        message=f"The script needed more than its {memory_mb} MiB of memory "
        "(sandbox.memory_mb of the namespace sets this limit).",
        hint="Work on smaller pieces: fetch, reduce, and drop each before the next.",
    )
