"""Runs a program for which `import Algorithmia` means this package, as `install` makes it."""

import runpy
import sys
from pathlib import Path

from algorium.compat import install


def main() -> None:
    """Run the program that the command line names."""
    if len(sys.argv) < 2:
        raise SystemExit("usage: python -m algorium.compat PROGRAM.py [ARGUMENTS ...]")
    del sys.argv[0]
    install()
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)  # as `python PROGRAM.py` has it
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
