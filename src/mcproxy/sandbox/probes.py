"""The script of the self-test: it tries what must not work, from inside a real worker.

It gets the facts of this machine through ``api.manifest()`` and gives back, by guarantee, what it
managed to do; an empty list means that every try was refused. It runs like any other script, so
what it finds is what a script would find.
"""

PROBES = """
import _socket, ctypes, fcntl, mmap, os, pathlib, signal, socket, tempfile

given = api.manifest()
libc = ctypes.CDLL(None, use_errno=True)
opened = {}

def attempt(guarantee, what, action):
    opened.setdefault(guarantee, [])
    try:
        action()
    except (OSError, MemoryError):
        return
    opened[guarantee].append(what)

def call(name, *args):
    if getattr(libc, name)(*args) < 0:
        raise OSError(ctypes.get_errno(), name)

def fork():
    if os.fork() == 0:
        os._exit(0)

def shared_memory():
    mmap.mmap(-1, given["memory_bytes"], mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)

def shared_device():
    with open("/dev/zero", "rb") as device:
        mmap.mmap(device.fileno(), mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)

def unwritable_memory():  # as if it had been written before
    kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    mmap.mmap(-1, 2 * given["memory_bytes"] + (1 << 28), kind, mmap.PROT_READ)

def larger_buffers():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)

def tcp():  # the real one, where the worker has a substitute
    return _socket.socket(socket.AF_INET, socket.SOCK_STREAM)

def surplus(names):
    if not names - {"LANG", "PATH", "USER", "HOME", "TMPDIR"} - set(given["proxy_variables"]):
        raise OSError("nothing")

folder, gateway = pathlib.Path(given["folder"]), given["pid"]
attempt("files_read", "read a file", lambda: (folder / "canary").read_text())
attempt("files_read", "list a folder", lambda: os.listdir(folder))
attempt("files_read", "read the gateway's memory map", lambda: open(f"/proc/{gateway}/maps").read())
attempt("files_metadata", "stat a file", lambda: os.stat(folder / "canary"))
attempt("files_write", "overwrite a file", lambda: open(folder / "canary", "w"))
attempt("files_write", "make a file", lambda: open(folder / "new", "w"))
attempt("files_write", "change a file's mode", lambda: os.chmod(folder / "canary", 0o777))
attempt("environment", "see more variables", lambda: surplus(set(os.environ)))
attempt("environment", "read the gateway's", lambda: open(f"/proc/{gateway}/environ").read())
attempt("processes", "fork", fork)
attempt("processes", "start a program", lambda: os.posix_spawn("/bin/true", ["true"], {}))
attempt("processes", "become a program", lambda: os.execv("/bin/true", ["true"]))
attempt("signals", "signal the gateway", lambda: os.kill(gateway, 0))
attempt("signals", "signal the parent", lambda: os.kill(os.getppid(), 0))
attempt("signals", "signal everybody", lambda: os.kill(-1, 0))
attempt("network", "reach the host", lambda: tcp().connect(tuple(given["address"])))
attempt("network", "make a datagram", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
attempt("network", "make a local socket", lambda: socket.socket(socket.AF_UNIX))
attempt("kernel", "enter a namespace", lambda: call("unshare", 0x10000000))
attempt("kernel", "trace a process", lambda: call("ptrace", 0, 0, 0, 0))
attempt("kernel", "mount", lambda: call("mount", b"none", b"/", b"tmpfs", 0, None))
attempt("kernel", "become root", lambda: call("setuid", 0))
attempt("kernel", "lift its limits", lambda: call("prctl", 4, 1, 0, 0, 0))
attempt("memory", "take twice the limit", lambda: bytearray(2 * given["memory_bytes"]))
attempt("memory", "share memory", shared_memory)
attempt("memory", "share memory of a device", shared_device)
attempt("memory", "map memory that it may not write", unwritable_memory)
attempt("memory", "have larger socket buffers", larger_buffers)
attempt("memory", "have larger pipes", lambda: fcntl.fcntl(os.pipe()[1], 1031, 1 << 20))

try:
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
    scratch = tempfile.gettempdir()
except OSError:
    scratch = None
result = {"opened": opened, "scratch": scratch}
"""
