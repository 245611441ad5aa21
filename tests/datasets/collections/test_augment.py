"""Augmentation: equal draws give equal images in any split, and each range has its effect."""

import math

import pytest
import torch
from torch.nn import functional

from medscore.datasets.collections.augment import Augmentation


def images(n: int = 32, side: int = 16) -> torch.Tensor:
    return torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(1))


def moved(
    augmentation: Augmentation, seed: int = 3, x: torch.Tensor | None = None, oversample: int = 2
) -> torch.Tensor:
    x = images() if x is None else x
    return augmentation.draw(len(x), torch.Generator().manual_seed(seed)).apply(x, oversample)


WIDE = Augmentation(zoom=(0.9, 1.6), gain=(0.7, 1.4))


def test_the_generator_decides() -> None:
    assert torch.equal(moved(WIDE), moved(WIDE))
    assert not torch.equal(moved(WIDE), moved(WIDE, seed=4))


def test_a_part_of_the_batch_is_that_part_of_the_whole() -> None:
    whole, part = moved(WIDE), slice(5, 13)
    motion = WIDE.draw(32, torch.Generator().manual_seed(3)).of(part)
    torch.testing.assert_close(motion.apply(images()[part], 2), whole[part], rtol=0, atol=1e-6)


def test_images_are_sampled_where_the_formula_says() -> None:
    """Bilinear interpolation by hand of one moved image, at the map drawn for it."""
    augmentation = Augmentation(zoom=(1.3, 1.3))
    motion = augmentation.draw(32, torch.Generator().manual_seed(3))
    out, x = motion.apply(images(), 1), images().double()
    chosen = int((motion.rows[:, 0, 2] != 0).nonzero()[0])
    row, column = 6, 9
    at = torch.tensor([(2 * column + 1) / 16 - 1, (2 * row + 1) / 16 - 1, 1.0])
    place = ((motion.rows[chosen] @ at + 1) * 16 - 1) / 2
    c, r = (math.floor(v) for v in place.tolist())
    fc, fr = float(place[0]) - c, float(place[1]) - r
    corner = x[chosen, 0, r : r + 2, c : c + 2]
    across = corner[:, 0] * (1 - fc) + corner[:, 1] * fc
    expected = float(across[0] * (1 - fr) + across[1] * fr)
    assert float(out[chosen, 0, row, column]) == pytest.approx(expected, abs=1e-5)


def test_unmoved_images_are_the_block_mean_or_its_mirror() -> None:
    found, mean = moved(Augmentation()), functional.avg_pool2d(images(), 2)
    same = (found - mean).abs().amax((1, 2, 3)) < 1e-5
    mirrored = (found - mean.flip(-1)).abs().amax((1, 2, 3)) < 1e-5
    _, lot, *_ = torch.rand(6, 32, generator=torch.Generator().manual_seed(3))
    assert torch.equal(same | mirrored, lot >= 0.5)
    assert min(same.sum(), mirrored.sum()) > 0


def test_nothing_to_vary_leaves_the_images_as_they_are() -> None:
    still = Augmentation(mirror=False, turn=0.0, shift=0.0)
    torch.testing.assert_close(moved(still, oversample=1), images(), rtol=0, atol=1e-5)


def test_zoom_magnifies() -> None:
    disc = torch.zeros(64, 1, 32, 32)
    disc[..., 10:22, 10:22] = 1
    areas = moved(Augmentation(zoom=(1.5, 1.5)), seed=0, x=disc).sum((1, 2, 3))
    changed = areas[(areas - 36).abs() > 1]
    assert 0.3 < len(changed) / 64 < 0.7
    assert changed.median().item() == pytest.approx(36 * 1.5**2, rel=0.1)


def test_gain_scales_every_image_within_its_range() -> None:
    still = Augmentation(mirror=False, turn=0.0, shift=0.0, gain=(0.5, 2.0))
    ratio = moved(still).mean((1, 2, 3)) / images().mean((1, 2, 3))
    assert 0.5 <= ratio.min() < 0.8
    assert 1.3 < ratio.max() <= 2.0 + 1e-6
