"""The nearest training slice, against brute force."""

import pytest
import torch

from medscore.metrics.memorisation import nearest


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_nearest_is_brute_force_over_slices_and_mirror_images() -> None:
    images, slices = draw(5, 6, 6, seed=0), draw(9, 6, 6, seed=1)
    distance, index = nearest(images, slices)
    for i, image in enumerate(images):
        gaps = [
            min(float((x - s).norm()) for x in (image, image.flip(-1)))
            / float((s - s.mean()).norm())
            for s in slices
        ]
        assert float(distance[i]) == pytest.approx(min(gaps), rel=1e-4)
        assert int(index[i]) == gaps.index(min(gaps))


def test_a_replayed_slice_has_distance_zero_also_mirrored() -> None:
    slices = draw(9, 6, 6, seed=1)
    distance, index = nearest(torch.stack([slices[4], slices[7].flip(-1)]), slices)
    assert index.tolist() == [4, 7]
    assert float(distance.max()) < 1e-3


def test_a_slices_mean_has_distance_one() -> None:
    slices = draw(1, 6, 6, seed=2)
    distance, _ = nearest(slices.mean((1, 2), keepdim=True).expand(1, 6, 6), slices)
    assert float(distance[0]) == pytest.approx(1, abs=1e-5)


def test_feature_vectors_are_compared_by_euclidean_distance_and_not_mirrored() -> None:
    training = draw(50, 4, seed=0).double()
    distance, index = nearest(training[[7, 3]] + 1e-6, training, mirror=False, relative=False)
    assert index.tolist() == [7, 3]
    assert distance.tolist() == pytest.approx([2e-6] * 2, rel=1e-3)
    turned, _ = nearest(training[:1].flip(-1), training, mirror=False, relative=False)
    gaps = (training[:1].flip(-1) - training).norm(dim=1)
    assert float(turned[0]) == pytest.approx(float(gaps.min()))
