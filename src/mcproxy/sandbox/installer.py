"""Run uv, or pip where there is no uv, to put Python packages into a folder.

Knows processes and command lines; not where the folder belongs nor who waits. The installer gets
its own settings from the environment (index, proxy, certificates) and nothing else of it: building
a package runs foreign code, which has no business with the gateway's secrets.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from mcproxy.cancellation import begin, finish
from mcproxy.shortage import lacking, need_descriptors

EXIT_SECS = 5.0  # SIGKILL works at once; this bounds the report of it

_LINE_BYTES = 1 << 20
_PASSED = frozenset(
    [
        *("PATH", "HOME", "LANG", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "NETRC"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE"),
    ]
)
_PASSED_BEGIN = ("UV_", "PIP_", "SSL_")

log = logging.getLogger("mcproxy.packages")


class InstallFailed(Exception):
    """The installer refused; ``reason`` is the last line that it said, the log has them all."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Installer(msgspec.Struct, frozen=True):
    """``uv`` is the path of uv; None means pip. ``environment`` is what its process gets."""

    uv: str | None
    environment: Mapping[str, str]

    @classmethod
    def found(cls, environment: Mapping[str, str], uv_path: str | None = None) -> "Installer":
        """``uv_path`` if given, else the uv beside this Python or in PATH, else pip."""
        beside = str(Path(sys.executable).parent)
        path = os.pathsep.join((beside, environment.get("PATH", os.defpath)))
        uv = uv_path or shutil.which("uv", path=path)
        return cls(uv, installer_environment(environment))

    def command(self, requirements: Sequence[str], folder: Path) -> list[str]:
        """What is run. Modules are compiled now: where they will be used nothing can be written."""
        where = ["--target", str(folder)]
        if self.uv:
            python = ["--python", sys.executable]
            start = [self.uv, "pip", "install", "--compile-bytecode", "--no-progress", *python]
        else:
            quiet = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
            start = [sys.executable, "-I", "-m", "pip", "install", *quiet]
        return [*start, *where, "--", *requirements]

    async def install(self, requirements: Sequence[str], folder: Path) -> None:
        """Install into ``folder``, telling the log how it goes. Raises InstallFailed; OSError where
        the machine has no means to start it."""
        command = self.command(requirements, folder)
        try:
            need_descriptors()
            starting = asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(self.environment),
                limit=_LINE_BYTES,
                start_new_session=True,  # one group: it is stopped with what it started
            )
            process = await begin(starting, _stop, 2 * EXIT_SECS)
        except OSError as error:
            if lacking(error.errno):
                raise
            raise InstallFailed(f"{command[0]} cannot be started: {error.strerror}") from error
        try:
            last_line = await _listen(process, " ".join(requirements))
            if await process.wait():
                raise InstallFailed(last_line or f"exit status {process.returncode}")
        finally:
            await finish(_stop(process), 2 * EXIT_SECS)


def installer_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that an installer may see."""
    return {
        name: value
        for name, value in environment.items()
        if name.upper() in _PASSED or name.startswith(_PASSED_BEGIN)
    }


async def _listen(process: asyncio.subprocess.Process, what: str) -> str:
    """Pass its output on to the log; the last line is given back."""
    last_line = ""
    assert process.stdout  # noqa: S101 - a pipe was asked for
    async for line in process.stdout:
        text = line.decode(errors="replace").strip()
        if text:
            log.info("%s: %s", what, text)
            last_line = text
    return last_line


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(EXIT_SECS):
            await process.wait()
