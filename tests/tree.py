"""What the layout of the source must keep to: small files, and each class name once.

Pure: from the text of files to what is wrong with them.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping

MOST_LINES = 400


def overlong(sources: Mapping[str, str]) -> dict[str, int]:
    """The files with more than ``MOST_LINES`` lines, and how many they have."""
    lengths = {path: len(text.splitlines()) for path, text in sources.items()}
    return {path: lines for path, lines in lengths.items() if lines > MOST_LINES}


def repeated(sources: Mapping[str, str]) -> dict[str, list[str]]:
    """The class names that occur more than once, and the files where they do."""
    files = defaultdict(list)
    for path, text in sources.items():
        for name in _classes(text):
            files[name].append(path)
    return {name: sorted(paths) for name, paths in files.items() if len(paths) > 1}


def _classes(text: str) -> Iterator[str]:
    return (node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef))
