"""Run MCProxy from a checkout: ``python main.py [OPTIONS]`` is the command ``mcproxy``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))  # it need not be installed

from mcproxy import NOT_INSTALLED

try:
    from mcproxy.cli import main
except ModuleNotFoundError as error:  # before the program itself can say it
    sys.exit(f"mcproxy: {NOT_INSTALLED.format(error.name, sys.executable)}")

if __name__ == "__main__":
    main()
