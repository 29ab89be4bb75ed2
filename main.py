"""Run MCProxy from a checkout: ``python main.py [OPTIONS]`` is the command ``mcproxy``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))  # it need not be installed

from mcproxy.cli import main

if __name__ == "__main__":
    main()
