"""Stubs that a running gateway keeps up to date."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mcproxy.types import JsonObject
from tests.e2e.gateways import echo, gateway

BOUND_SECS = 20
LOOK_SECS = 0.05


async def until(condition: Callable[[], bool]) -> None:
    """Wait, bounded, for what files show."""
    async with asyncio.timeout(BOUND_SECS):
        while not condition():  # noqa: ASYNC110  a file tells nobody
            await asyncio.sleep(LOOK_SECS)


def config(output: Path, **servers: JsonObject) -> JsonObject:
    return {
        "servers": {**servers},
        "namespaces": {"small": {"servers": ["echo"]}},
        "manifests": {"typed_stub_generation": {"enabled": True, "output_dir": str(output)}},
    }


def has(path: Path, *words: str) -> bool:
    text = path.read_text() if path.exists() else ""
    return all(word in text for word in words)


@pytest.mark.requirement("stubs.follow")
async def test_stubs_follow_the_tools(tmp_path: Path) -> None:
    output = tmp_path / "typed"
    small, public = (output / name / "mcproxy_api.pyi" for name in ("small", "public"))
    grows = {**echo("--list-changed"), "namespace": "small"}
    with gateway(tmp_path, config(output, echo=grows)) as running:
        await until(lambda: has(small, "def add(", "api: Api"))
        await until(lambda: has(output / "public/mcproxy_api.d.ts", "declare const api"))
        assert not has(public, "def add(")
        before = public.stat().st_ino, public.stat().st_mtime_ns

        running.run('api.server("echo").grow()', namespace="small")
        await until(lambda: has(small, "grown"))
        await until(lambda: has(output / "mcproxy_api.d.ts", "grown"))
        assert (public.stat().st_ino, public.stat().st_mtime_ns) == before

        changed = config(output, echo=grows, other={**echo(), "namespace": "public"})
        (tmp_path / "mcproxy.json").write_text(json.dumps(changed))
        await until(lambda: has(public, "class Other("))
        await until(lambda: not [one for one in output.rglob("*") if one.name.startswith(".")])


@pytest.mark.requirement("stubs.follow")
async def test_a_gateway_that_cannot_write_them_works_all_the_same(tmp_path: Path) -> None:
    output = tmp_path / "a file"
    output.write_text("")
    with gateway(tmp_path, config(output, echo={**echo(), "namespace": "small"})) as running:
        await until(lambda: "no stubs are written" in running.logged.text)
        found = running.run('api.server("echo").add(a=40, b=2)', namespace="small")
        assert found["result"] == {"sum": 42}
