"""Class names as matplotlib can draw them."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.font_manager import FontProperties, findfont, get_font

LONGEST = 32
"""Characters of a name; longer ones leave no room for the figure."""


def figure_labels(names: Sequence[str]) -> list[str]:
    """Return names that are short, free of formulas, and made of glyphs that the font has.

    Names that lose characters get their number in the order of the classes, from 1.
    """
    glyphs = get_font(findfont(FontProperties())).get_charmap()
    labels = []
    for number, name in enumerate(names, start=1):
        shown = "".join(letter if ord(letter) in glyphs else "?" for letter in name)
        short = shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"
        label = short if short == name else f"{number}: {short}"
        labels.append(label.replace("$", r"\$"))  # a pair of them would be a formula
    return labels
