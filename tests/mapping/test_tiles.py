import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from eocontrast.mapping.tiles import Blend, Tile, Tiling, cut
from eocontrast.runtime.errors import UserError

SHAPES = [(5, 7, 8, 4), (40, 53, 16, 4), (64, 48, 16, 8), (33, 31, 12, 6), (30, 20, 10, 0)]
BEFORE = [(0, 0), (1, 3), (5, 2)]


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def blended(image: Tensor, tiling: Tiling, model: torch.nn.Module) -> tuple[Tensor, Tensor]:
    """Return the blended tiles of an image (C, H, W), and how often each pixel was returned."""
    blend, out = Blend(tiling), torch.full_like(image, torch.nan)
    seen = torch.zeros(image.shape[1:])
    for tile in tiling:
        part = image[:, tile.row : tile.row + tile.height, tile.col : tile.col + tile.width]
        final, values = blend.add(tile, model(part[None])[0])
        rows = slice(final.row, final.row + final.height)
        cols = slice(final.col, final.col + final.width)
        out[:, rows, cols] = values
        seen[rows, cols] += 1
    return out, seen


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize(("height", "width", "side", "overlap"), SHAPES)
def test_blend_returns_pixels_once(
    height: int, width: int, side: int, overlap: int, before: tuple[int, int]
) -> None:
    image = draw(3, height, width)
    stride = side - overlap
    tiling = Tiling(height, width, side, overlap, (before[0] % stride, before[1] % stride))
    assert len(list(tiling)) == len(tiling)
    out, seen = blended(image, tiling, torch.nn.Identity())
    assert torch.equal(seen, torch.ones(height, width))
    torch.testing.assert_close(out, image)


class Neighbourhood(torch.nn.Module):
    """A model that sees `radius` pixels around, and a constant beyond its input."""

    def __init__(self, radius: int) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, images: Tensor) -> Tensor:
        side = 2 * self.radius + 1
        kernel = draw(images.shape[1], 1, side, side)
        padded = F.pad(images, [self.radius] * 4, value=9.0)
        return F.conv2d(padded, kernel, groups=images.shape[1])


def test_blend_has_no_seams() -> None:
    image = draw(2, 90, 75)
    whole = Neighbourhood(2)(image[None])[0]
    tiled, _ = blended(image, Tiling(90, 75, 24, 8), Neighbourhood(2))
    torch.testing.assert_close(tiled, whole, rtol=1e-5, atol=1e-5)
    # the comparison can fail: without overlap, or for a model that sees further
    for tiling, radius in ((Tiling(90, 75, 24, 0), 2), (Tiling(90, 75, 24, 8), 4)):
        seams, _ = blended(image, tiling, Neighbourhood(radius))
        assert (seams - Neighbourhood(radius)(image[None])[0]).abs().max() > 0.1


def test_blend_fades() -> None:
    """Tiles of 0 and of 1 become a ramp that rises all the way in small steps."""

    class Alternate(torch.nn.Module):
        count = 0

        def forward(self, images: Tensor) -> Tensor:
            self.count += 1
            return torch.full_like(images, float(self.count % 2 == 0))

    row, _ = blended(torch.zeros(1, 1, 48), Tiling(1, 48, 32, 16), Alternate())
    steps = row.flatten().diff()
    assert row.min() == 0
    assert row.max() == 1
    assert (steps >= 0).all()
    assert steps.max() < 0.25


def test_batches_of_neighbours() -> None:
    tiling = Tiling(20, 41, 8, 2)
    batches = list(tiling.batches(2 * 64))
    assert [tile for batch in batches for tile in batch] == list(tiling)
    assert max(len(batch) for batch in batches) == 2
    for batch in batches:
        assert len({(tile.row, tile.height, tile.width) for tile in batch}) == 1
    assert all(len(batch) == 1 for batch in tiling.batches(1))


def test_tiles_of_a_crop() -> None:
    """A crop has the tiles of the whole image, except for those that its edges cut off."""

    def seen(tiling: Tiling, row: int, col: int) -> set[Tile]:
        return {Tile(t.row + row, t.col + col, t.height, t.width) for t in tiling}

    whole = seen(Tiling(90, 80, 16, 4), 0, 0)
    for row, col in ((0, 0), (1, 1), (11, 12), (13, 30)):
        part = seen(Tiling(90 - row, 80 - col, 16, 4, (row % 12, col % 12)), row, col)
        inside = {t for t in whole if t.row >= row and t.col >= col}
        assert inside <= part
        cut_off = part - inside
        assert all(tile.row == row or tile.col == col for tile in cut_off)
        assert len(part) == len(Tiling(90 - row, 80 - col, 16, 4, (row % 12, col % 12)))


@pytest.mark.parametrize(("side", "overlap"), [(8, 5), (8, -1), (0, 0)])
def test_overlap_of_half_at_most(side: int, overlap: int) -> None:
    with pytest.raises(UserError, match="cannot overlap"):
        Tiling(20, 20, side, overlap)


def test_cut_goes_row_by_row() -> None:
    images = draw(2, 3, 12, 8)
    patches = cut(images, 4)
    assert patches.shape == (12, 3, 4, 4)
    for number, patch in enumerate(patches):
        image, index = divmod(number, 6)
        row, col = divmod(index, 2)
        assert torch.equal(patch, images[image, :, 4 * row : 4 * row + 4, 4 * col : 4 * col + 4])


def test_tile_in_pixels() -> None:
    assert Tile(1, 2, 3, 4).times(10) == Tile(10, 20, 30, 40)
