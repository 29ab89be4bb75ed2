"""``python -m mcproxy`` is the command ``mcproxy``."""

from mcproxy.cli import main

if __name__ == "__main__":
    main()
