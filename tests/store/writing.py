"""A process that keeps things until it is killed: prints each number once it is acknowledged."""

import asyncio
import sys
from pathlib import Path

from mcproxy.store.interface import StoreBounds
from mcproxy.store.local_store import LocalStore


def one_more(before: bytes | None) -> bytes:
    return str(int(before or b"0") + 1).encode()


async def main(path: Path, name: str, count: int) -> None:
    async with LocalStore(path, StoreBounds()) as store:
        for n in range(count):
            await store.append(name, "journal", str(n).encode(), 3600)
            await store.update("all", "count", one_more, 3600)
            sys.stdout.write(f"{n}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
