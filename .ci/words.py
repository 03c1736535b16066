"""Measure how the project reads, and fail if it reads worse than it did.

Run from the root of a clone: `python .ci/words.py`; `-v` lists docstrings that begin with a clause.
Bounds are where the text stands: tighten them whenever a figure improves, until they are the goals.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = [path for folder in ("src", "stages") for path in sorted((ROOT / folder).rglob("*.py"))]
PAGES = ("data", "evaluation", "cluster", "place")
USER_PAGES = ["README.md", *(f"docs/{name}.md" for name in PAGES)]

CLAUSES = 0.0
COMMENTS = 3.0
SPOKEN = 1.5

# A docstring that begins like this describes something that the reader has to guess.
CLAUSE = re.compile(
    r"(What|Whatever|Whether|Where|Wherever|How|Which|Why|That|Those|Who|Whose|When|While|Once|"
    r"Because|Since|If|Unless|Until|As|So|Of|By|To|From|In|Into|On|Onto|At|With|Within|Without|"
    r"For|Per|Under|Over|Above|Below|Beside|Between|Before|After|During|Through|About|Against|"
    r"Likewise|The same|(All|Everything|Nothing|Anything) (that|which|who|what|there)|"
    r"(All|Both|Some|Most) of|Not|There)\b"
)


def docstrings(path: Path) -> Iterator[str]:
    """Yield every docstring of a file, attribute docstrings included."""
    for node in ast.walk(ast.parse(path.read_text())):
        body = getattr(node, "body", None)
        for child in body if isinstance(body, list) else []:
            value = (
                child.value.value
                if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
                else None
            )
            if isinstance(value, str):
                yield value.strip()


def comments(path: Path) -> int:
    """Count the comment lines of a file, tool directives excluded."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    texts = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return sum(not re.match(r"#\s*(noqa|type:|fmt:|nosec|ruff:|!)", text) for text in texts)


def prose(page: str) -> str:
    """Return the running text of a Markdown page: no code, tables, figures, headings or links."""
    text = (ROOT / page).read_text()
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"^(#|\||!\[| {4}|\t).*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"^\s*([-*]|\d+\.)\s+", "\n\n", text, flags=re.MULTILINE)
    return re.sub(r"`([^`]*)`", "CODE", text)


def sentences(text: str) -> list[str]:
    """Split running text into sentences."""
    flat = [re.sub(r"\s+", " ", block).strip() for block in re.split(r"\n\s*\n", text)]
    parts = [part for block in flat for part in re.split(r"(?<=[.!?:])\s+(?=[A-Z\"(*])", block)]
    return [part for part in parts if len(part.split()) > 1]


def main() -> int:
    """Print every figure beside its bounds; return 1 where one is out of bounds."""
    lines = sum(len(path.read_text().splitlines()) for path in CODE)
    docs = [(path, text) for path in CODE for text in docstrings(path)]
    clauses = [(path, text) for path, text in docs if CLAUSE.match(text)]
    readme = sentences(prose("README.md"))
    rows = [
        ("docstrings that begin with a clause, %", 100 * len(clauses) / len(docs), 0.0, CLAUSES),
        ("comments per 100 lines", 100 * sum(map(comments, CODE)) / lines, COMMENTS, 8.0),
        ("README: words a sentence", sum(len(s.split()) for s in readme) / len(readme), 0.0, 18.0),
        ("README: lines", len((ROOT / "README.md").read_text().splitlines()), 0.0, 119.0),
    ]
    for page in USER_PAGES:
        words = re.findall(r"[A-Za-z']+", prose(page))
        spoken = sum(word.lower() in ("you", "your", "yours", "we", "our") for word in words)
        rows.append((f"{page}: you or we per 100 words", 100 * spoken / len(words), SPOKEN, 100.0))
    for name, value, low, high in rows:
        mark = "" if low <= value <= high else f"   <- expected {low:g} to {high:g}"
        print(f"{value:7.2f}  {name}{mark}")
    if "-v" in sys.argv:
        for path, text in clauses:
            print(f"{path.relative_to(ROOT)}: {text.splitlines()[0]}")
    return int(any(not low <= value <= high for _, value, low, high in rows))


if __name__ == "__main__":
    sys.exit(main())
