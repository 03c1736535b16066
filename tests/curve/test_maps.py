from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from eocontrast.curve.maps import draw_maps, painted
from eocontrast.runtime.errors import UserError

PALETTE = ["#009900", "#a5a5a5", "#1c0dff"]


@pytest.fixture
def content() -> dict[str, Any]:
    """Two patches of 4 px and two models, which say one class each."""
    rng = np.random.default_rng(0)
    return {
        "note": "",
        "ids": np.array(["a", "b"]),
        "optical": rng.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8),
        "radar": rng.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8),
        "image_titles": np.array(["Sentinel-2\ntrue colour", "Sentinel-1\nVV"]),
        "classes": np.array(["Forest", "Urban", "Water"]),
        "palette": np.array(PALETTE),
        "ground_truth": rng.choice([0, 1, 2, 255], (2, 4, 4)).astype(np.uint8),
        "columns": np.array(["U-Net", "ensemble"]),
        "maps": np.stack([np.full((2, 4, 4), k, np.uint8) for k in (0, 2)]),
    }


def test_painted_palette() -> None:
    image = painted(np.array([[[0, 1], [2, 255]]], dtype=np.uint8), PALETTE)
    assert image.shape == (1, 2, 2, 3)
    as_bytes = np.rint(image * 255).astype(int)[0]
    assert as_bytes[0].tolist() == [[0x00, 0x99, 0x00], [0xA5, 0xA5, 0xA5]]
    assert as_bytes[1].tolist() == [[0x1C, 0x0D, 0xFF], [255, 255, 255]]


def test_figure_panels(content: dict[str, Any], tmp_path: Path, drawn: list[Figure]) -> None:
    np.savez(tmp_path / "maps.npz", **content)
    draw_maps(tmp_path / "maps.npz", tmp_path / "maps.png")
    assert (tmp_path / "maps.png").read_bytes().startswith(b"\x89PNG")
    (figure,) = drawn
    titles = [axes.get_title() for axes in figure.axes[:5]]
    assert titles == [*content["image_titles"], "ground truth", *content["columns"]]
    truth = painted(content["ground_truth"], PALETTE)
    for patch in range(2):
        panels = figure.axes[5 * patch : 5 * patch + 5]
        shown = [np.asarray(axes.get_images()[0].get_array()) for axes in panels]
        np.testing.assert_array_equal(shown[0], content["optical"][patch])
        np.testing.assert_array_equal(shown[1], content["radar"][patch])
        np.testing.assert_allclose(shown[2], truth[patch])
        np.testing.assert_allclose(shown[4], painted(content["maps"][1], PALETTE)[patch])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["Forest", "Urban", "Water"]


def test_long_names_stay_in_the_figure(
    content: dict[str, Any], tmp_path: Path, drawn: list[Figure]
) -> None:
    content["classes"] = [f"{k} {'long ' * 30}" for k in range(3)]
    np.savez(tmp_path / "maps.npz", **content)
    draw_maps(tmp_path / "maps.npz", tmp_path / "maps.png")
    (figure,) = drawn
    (legend,) = figure.legends
    shown = legend.get_window_extent()
    assert shown.x0 >= 0
    assert shown.x1 <= figure.bbox.x1


def test_figure_bytes(content: dict[str, Any], tmp_path: Path) -> None:
    """Equal maps give equal bytes."""
    for name, number in (("one", 0), ("two", 0), ("other", 1)):
        content["maps"] = np.full((2, 2, 4, 4), number, np.uint8)
        np.savez(tmp_path / f"{name}.npz", **content)
        draw_maps(tmp_path / f"{name}.npz", tmp_path / f"{name}.png")
    one, two, other = ((tmp_path / f"{n}.png").read_bytes() for n in ("one", "two", "other"))
    assert one == two
    assert one != other
    assert plt.get_fignums() == []


def test_figure_of_note(tmp_path: Path, drawn: list[Figure]) -> None:
    np.savez(tmp_path / "maps.npz", note="no masks: nothing was segmented")
    draw_maps(tmp_path / "maps.npz", tmp_path / "maps.png")
    (figure,) = drawn
    assert [text.get_text() for text in figure.texts] == ["no masks: nothing was segmented"]


@pytest.mark.parametrize("damage", [b"", b"PK"])
def test_damaged_numbers(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "maps.npz").write_bytes(damage)
    with pytest.raises(UserError, match=r"maps\.npz cannot be read.*dvc repro evaluate_grid"):
        draw_maps(tmp_path / "maps.npz", tmp_path / "maps.png")
