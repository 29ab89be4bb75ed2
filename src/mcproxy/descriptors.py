"""File descriptors: a connection takes one, a server four, a worker three. A gateway without any
left can neither answer ``/health`` nor start a server: connections are bounded below them."""

import resource
from contextlib import suppress

from mcproxy.frontends.http_connection import ConnectionLimits

WANTED = 8192  # a login shell gives 1024; more than this, programs that use select(2) do not like
RESERVED = 384  # for sixty servers, the workers of sixty-four scripts, files and health


def raise_descriptor_limit() -> int:
    """Raise the soft limit of this process, and of what it starts, as far as is wanted and allowed;
    gives what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED if soft == resource.RLIM_INFINITY else soft


def connection_limits(descriptors: int) -> ConnectionLimits:
    """How many connections leave enough for everything else; half of them for one address."""
    usual = ConnectionLimits()
    in_all = max(64, min(usual.in_all, descriptors - RESERVED))
    return ConnectionLimits(in_all, min(usual.of_one_address, in_all // 2))
