"""Run the command as `python -m eocontrast.cli`."""

import sys

from eocontrast.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
