"""Runs the benches by name, all but the slow ones by default, and prints their tables."""

import argparse
import importlib

NAMES = ("gateway", "search", "intents", "execute", "reload", "trace", "replies")
SLOW = ("ablation",)


def main() -> None:
    """Run what was named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES + SLOW))
    names = parser.parse_args().names or NAMES
    for name in names:
        if name not in NAMES + SLOW:
            parser.error(f"there is no bench {name!r}; there are {', '.join(NAMES + SLOW)}")
    for name in names:
        print(f"\n## {name}\n")
        importlib.import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main()
