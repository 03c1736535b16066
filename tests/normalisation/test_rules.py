import re
from pathlib import Path

from eocontrast.normalisation.audit import SEVERITIES
from eocontrast.normalisation.rules import RULES, rules_table

ROOT = Path(__file__).parents[2]


def test_docs_hold_the_table() -> None:
    assert rules_table() in (ROOT / "docs/data.md").read_text()


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
