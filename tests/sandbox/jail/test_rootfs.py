"""Planning the sandbox's file tree: links, nesting, hiding. Pure."""

import pytest

from mcproxy.sandbox.jail.confine.rootfs import Kind, plan, resolve

LINKS = {
    "/lib": "usr/lib",
    "/etc/localtime": "/usr/share/zoneinfo/UTC",
    "/data/current": "v2/../v3",
    "/loop": "/loop",
}


def readlink(path: str) -> str | None:
    return LINKS.get(path)


@pytest.mark.parametrize(
    ("path", "links", "real"),
    [
        ("/usr/lib", {}, "/usr/lib"),
        ("/lib/x.so", {"/lib": "usr/lib"}, "/usr/lib/x.so"),
        ("/etc/localtime", {"/etc/localtime": LINKS["/etc/localtime"]}, "/usr/share/zoneinfo/UTC"),
        ("/data/current/f", {"/data/current": "v2/../v3"}, "/data/v3/f"),
        ("/a/./b//c/..", {}, "/a/b"),
        ("/..", {}, "/"),
    ],
)
def test_a_path_is_resolved_through_its_links(path: str, links: dict[str, str], real: str) -> None:
    assert resolve(path, readlink) == (links, real)


def test_a_loop_of_links_is_an_error() -> None:
    chain = {f"/{number}": f"/{number + 1}" for number in range(100)}
    with pytest.raises(OSError, match="too many symbolic links"):
        resolve("/0", chain.get)


Paths = list[tuple[str, Kind]]


@pytest.mark.requirement("sandbox.files")
@pytest.mark.parametrize(
    ("paths", "mounts"),
    [
        ([("/a", "read_only"), ("/a/b", "read_only")], [("/a", "read_only")]),
        ([("/a/b", "denied"), ("/a", "read_only")], [("/a", "read_only"), ("/a/b", "denied")]),
        ([("/home", "denied"), ("/a", "read_only")], [("/a", "read_only")]),
        (
            [("/home", "denied"), ("/home/me/data", "read_only")],
            [("/home/me/data", "read_only")],
        ),
        (
            [("/a", "read_only"), ("/a/b", "denied"), ("/a/b/c", "read_write")],
            [("/a", "read_only"), ("/a/b", "denied"), ("/a/b/c", "read_write")],
        ),
        ([("/ab", "read_only"), ("/a", "read_only")], [("/ab", "read_only"), ("/a", "read_only")]),
        ([("/lib/x", "read_only")], [("/usr/lib/x", "read_only")]),
    ],
)
def test_the_innermost_path_wins_and_nothing_is_mounted_twice(paths: Paths, mounts: Paths) -> None:
    assert list(plan(paths, readlink).mounts) == mounts
