"""Podman with a storage folder of its own, and an image of the program in it.

What the machine needs and users do not (another runtime, limits that this process may not raise,
the certificates of a proxy) is given here, never in the files that are tested.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.e2e.gateways import ROOT

BASE = "docker.io/library/python:3.11-slim-bookworm"
OWN_BASE = "localhost/mcproxy-test-base"  # where no registry of images can be reached
IMAGE = "localhost/mcproxy:latest"
PREPARED = "MCPROXY_TEST_BASE"  # names an archive of that base, for whoever runs these tests often
LIMITS = ("--ulimit", "nofile=1024:4096", "--ulimit", "nproc=4096:8192")
# What mcproxy.container, podman-compose.yml and kubernetes.yaml ask for.
CONFINED = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "all", "--memory", "512m"),
    *("--security-opt", "no-new-privileges", "--pids-limit", "1024"),
)
SECCOMP = ("--security-opt", f"seccomp={ROOT / 'deploy/seccomp.json'}")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
BUILD_SECS = 600  # Debian, Python's packages and Node.js are downloaded
COMMAND_SECS = 60
PULL_SECS = 90


class Typed(Protocol):
    """Runs a line in a shell of a machine, there and then."""

    def __call__(
        self, line: str, *, ok: bool = True, secs: float = COMMAND_SECS
    ) -> subprocess.CompletedProcess[str]: ...


class Unavailable(Exception):
    """What a container test needs is not here; the text says what."""


@dataclass(frozen=True, slots=True)
class Podman:
    """``program`` calls Podman with the folder's storage and the machine's peculiarities."""

    program: Path
    folder: Path

    def __call__(
        self, *arguments: str, ok: bool = True, secs: float = COMMAND_SECS
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.program, *arguments], capture_output=True, text=True, timeout=secs, check=False
        )
        assert not ok or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    @contextmanager
    def container(self, *options: str, arguments: tuple[str, ...] = ()) -> Iterator[str]:
        """Run the image in the background; the id of its container."""
        started = self("run", "--detach", *LIMITS, *CONFINED, *options, IMAGE, *arguments)
        name = started.stdout.strip().splitlines()[-1]
        try:
            yield name
        finally:
            self("rm", "--force", name)

    def inspect(self, name: str, template: str) -> str:
        """A fact about a container."""
        return self("inspect", "--format", template, name).stdout.strip()

    def address(self, name: str) -> str:
        """Where this machine reaches a container's port."""
        return "http://" + self("port", name, "12010/tcp").stdout.strip()


@contextmanager
def podman(folder: Path) -> Iterator[Podman]:
    """Podman on a new storage folder, emptied at the end. Raises Unavailable."""
    real = shutil.which("podman")
    if real is None:
        raise Unavailable("Podman is not installed")
    runtime = "--runtime runc" if shutil.which("runc") else ""
    program = folder / "podman"
    program.write_text(
        # Health checks are asked for by the tests, so that no timer of systemd is needed.
        f"#!/bin/sh\nDISABLE_HC_SYSTEMD=true exec {real} --root {folder}/storage"
        f' --runroot {folder}/run --log-level error {runtime} "$@"\n'
    )
    program.chmod(0o755)
    instance = Podman(program, folder)
    try:
        if instance("info", ok=False).returncode:
            raise Unavailable("Podman does not work here: " + instance("info", ok=False).stderr)
        yield instance
    finally:
        instance("rm", "--all", "--force", ok=False)
        subprocess.run(
            ["umount", "--quiet", folder / "storage/overlay"], check=False, capture_output=True
        )
        shutil.rmtree(folder, ignore_errors=True)  # quicker than removing images


def certificates() -> tuple[str, ...]:
    """Options that show the machine's certificates at one place inside."""
    return ("--volume", f"{CERTIFICATES}:/certificates.pem:ro") if CERTIFICATES.exists() else ()


def trust() -> Mapping[str, str]:
    """The variables by which uv and Node.js take those certificates."""
    names = ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")
    return dict.fromkeys(names, "/certificates.pem") if CERTIFICATES.exists() else {}


def base(run: Podman) -> str:
    """The image to build upon: the public one, else one that Debian makes. Raises Unavailable."""
    if PREPARED not in os.environ and pulled(run):
        return BASE
    return own_base(run)


def own_base(run: Podman) -> str:
    """An image of Debian's making, which has systemd and Podman too. Raises Unavailable."""
    if run("image", "exists", OWN_BASE, ok=False).returncode:
        archive = Path(os.environ.get(PREPARED, run.folder / "base.tar"))
        if not archive.exists():
            debian(archive)
        run("import", "--quiet", str(archive), OWN_BASE, secs=BUILD_SECS)
    return OWN_BASE


def pulled(run: Podman) -> bool:
    """Whether the public base could be had."""
    try:
        return run("pull", "--quiet", BASE, ok=False, secs=PULL_SECS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def debian(archive: Path) -> None:
    """Make a root file system that has a Podman with quadlets, too. Raises Unavailable."""
    if shutil.which("mmdebstrap") is None or os.geteuid() != 0:
        raise Unavailable("no registry of images, and no mmdebstrap to make a base with")
    made = subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=minbase"),
            "--include=python3,python3-venv,ca-certificates,podman,systemd",
            *("trixie", str(archive)),
        ],
        capture_output=True,
        text=True,
        timeout=BUILD_SECS,
        check=False,
    )
    if made.returncode:
        raise Unavailable(f"no registry of images, and no Debian: {made.stderr[-500:]}")


def build(run: Podman, base_image: str) -> None:
    """Build ``IMAGE`` of the checkout with the deployment's own Dockerfile."""
    settings = run.folder / "pip.conf"
    settings.write_text("[global]\ncert = /certificates.pem\n" if certificates() else "")
    run(
        *("build", "--quiet", "--format", "docker", "--network", "host", *LIMITS),
        "--layers=false",  # nothing of this storage is built upon again
        *(*certificates(), "--volume", f"{settings}:/etc/pip.conf:ro"),
        *("--build-arg", f"BASE={base_image}", "--file", str(ROOT / "deploy/Dockerfile")),
        *("--tag", IMAGE, str(ROOT)),
        secs=BUILD_SECS,
    )


def installed(run: Podman, debian_image: str, wheel: Path, mount: str, user: int = 0) -> None:
    """Do on a bare machine, in the folder that is mounted, what the documentation says."""
    folder = mount.partition(":")[2]
    install = (
        f"python3 -m venv {folder}/mcproxy && {folder}/mcproxy/bin/pip install /dist/{wheel.name}"
    )
    index = ("--env", "PIP_CERT=/certificates.pem") if certificates() else ()
    run(
        *("run", "--rm", "--network", "host", *LIMITS, *certificates(), *index),
        *("--user", str(user), "--env", f"HOME={folder}", "--volume", mount),
        *("--volume", f"{wheel.parent}:/dist:ro", debian_image, "sh", "-c", install),
        secs=BUILD_SECS,
    )


@contextmanager
def machine(run: Podman, image: str, *options: str, start: str) -> Iterator[Typed]:
    """A machine without a network that goes on while commands are typed at it."""
    started = run("run", "--detach", "--network", "none", *LIMITS, *options, image, *start.split())
    name = started.stdout.strip().splitlines()[-1]

    def typed(
        line: str, *, ok: bool = True, secs: float = COMMAND_SECS
    ) -> subprocess.CompletedProcess[str]:
        return run("exec", name, "sh", "-c", line, ok=ok, secs=secs)

    try:
        yield typed
    finally:
        run("rm", "--force", name)
