"""``python -I -S launcher.py ADDRESS ARGUMENTS``: stands for one run of the program.

It imports next to nothing, not even pathlib, as it is started for each. Signals that stop or reload
the program are passed on to it; when this process is killed, the program is, too.
"""

import _socket
import os
import signal
import sys

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STREAMS = (0, 1, 2)
READY = b"."
NUMBER_BYTES = 4  # of a descriptor, a process id, an exit status


def main(address: str, arguments: list[str]) -> None:
    """Have the program started; end as it does."""
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    server.connect(address)
    run = repr((arguments, dict(os.environ), os.getcwd())).encode()  # noqa: PTH109
    streams = b"".join(fd.to_bytes(NUMBER_BYTES, sys.byteorder) for fd in STREAMS)
    size = len(run).to_bytes(NUMBER_BYTES, sys.byteorder)
    server.sendmsg([size], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
    server.sendall(run)
    for stream in STREAMS:
        os.close(stream)  # they are the program's
    program = _number(server)
    with open("/proc/self/comm", "w") as name:  # noqa: PTH123
        name.write(str(program))  # for whoever looks for it
    for each in PASSED_ON:
        signal.signal(each, lambda number, _: os.kill(program, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    server.sendall(READY)
    status = _number(server)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def _number(server: _socket.socket) -> int:
    """What the server says next: the id of the program's process, then its exit status."""
    data = server.recv(NUMBER_BYTES, _socket.MSG_WAITALL)
    if len(data) < NUMBER_BYTES:
        os._exit(1)  # the server has ended, and with it the program
    return int.from_bytes(data, sys.byteorder, signed=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
