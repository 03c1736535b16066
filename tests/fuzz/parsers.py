"""Coverage-guided fuzzing of all parsers of what people hand in; ends after a time, or at a crash.

python tests/fuzz/parsers.py NAME [-max_total_time=60] [further options of libFuzzer]

NAME is one of `tests/parsers.py`. Needs `pip install atheris`, whose wheels are for Linux and for
Python up to 3.13; it is no dependency of the project.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["eocontrast"]):
    from parsers import PARSERS, said_of


def main() -> None:
    name, options = sys.argv[1], sys.argv[2:] or ["-max_total_time=60"]
    parser = PARSERS[name]
    with TemporaryDirectory() as temporary:
        corpus, folder = Path(temporary, "corpus"), Path(temporary, "read")
        corpus.mkdir()
        folder.mkdir()
        (corpus / "valid").write_bytes(parser.valid)
        limits = ["-timeout=20", "-rss_limit_mb=4096"]
        atheris.Setup(
            [sys.argv[0], str(corpus), *limits, *options],
            lambda content: said_of(parser, content, folder),
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
