"""A server that takes a second to load, loaded once: a process that forks for each that is wanted.

``words()`` gives a server its options. Run with ``--forks PATH`` it is such a process: each
connection to the local socket PATH is the input and output of a server, and has the options in its
first line.
"""

import os
import select
import signal
import socket
import sys


def words() -> list[str]:
    """The options of this server; with ``--forks`` this returns in a child of its own for each."""
    given = sys.argv[1:]
    return _forked(given[1]) if given[:1] == ["--forks"] else given


def _forked(path: str) -> list[str]:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with socket.create_server(path, family=socket.AF_UNIX) as listener:
        sys.stdout.write(f"{path}\n")
        sys.stdout.flush()
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    os.dup2(connection.fileno(), sys.stdin.fileno())
                    os.dup2(connection.fileno(), sys.stdout.fileno())
                    return sys.stdin.readline().split()
    sys.exit()
