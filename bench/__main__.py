"""Runs benches by name and prints their tables; ``measure`` keeps what the report says, ``results``
renders it.

python -m bench [NAME ...] python -m bench measure [--quick] [--crashes N] [PART ...] python -m
bench results
"""

import argparse
import importlib
import sys

NAMES = ("gateway", "search", "intents", "execute", "reload", "trace", "stalls", "replies")
SLOW = ("ablation", "scale")
RESULTS = ("measure", "results")


def main() -> int:
    """Run what was named, all but the slow ones by default."""
    if sys.argv[1:2] == ["measure"]:
        return int(importlib.import_module("bench.measure").main(sys.argv[2:]))
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES + SLOW + RESULTS))
    names = parser.parse_args().names or NAMES
    known = NAMES + SLOW + RESULTS
    for name in names:
        if name not in known:
            parser.error(f"there is no bench {name!r}; there are {', '.join(known)}")
    for name in names:
        print(f"\n## {name}\n")
        importlib.import_module(f"bench.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
