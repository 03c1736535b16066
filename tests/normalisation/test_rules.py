import re
from pathlib import Path

from eocontrast.normalisation.audit import SEVERITIES
from eocontrast.normalisation.rules import RULES, main, rules_table

ROOT = Path(__file__).parents[2]


def test_docs_hold_the_table(tmp_path: Path) -> None:
    text = (ROOT / "docs/data.md").read_text()
    assert rules_table() in text
    page = tmp_path / "data.md"
    page.write_text(text.replace("| `mask` | error |", "| `mask` | note |"))
    assert main([str(page), "--check"]) == 1
    assert main([str(page)]) == 0
    assert page.read_text() == text
    assert main([str(page), "--check"]) == 0
    page.write_text("# Data")
    assert main([str(page)]) == 2


def test_every_rule_is_described() -> None:
    rooms = [
        *ROOT.glob("src/eocontrast/normalisation/*.py"),
        *ROOT.glob("src/eocontrast/rasters/*.py"),
    ]
    text = "\n".join(path.read_text() for path in rooms)
    used = set(re.findall(r'(?:Finding\(|RasterError\(|Found\()\s*(?:[\w.\[\]"]+, )?"(\w+)"', text))
    used |= set(re.findall(r'\(\s*"(\w+)", "(?:warning|note)"', text))
    used -= {*SEVERITIES}
    assert {"mask", "offset", "mask_values", "size", "shift", "georeference"} <= used
    assert used <= set(RULES)
    assert all(set(rule.severity.split(", ")) <= {*SEVERITIES} for rule in RULES.values())
