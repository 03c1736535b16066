"""Run the command as `python -m eocontrast.cli`."""

from eocontrast.cli.main import main

if __name__ == "__main__":
    main()
