"""Priors of slices of three orientations, averaged."""

from pathlib import Path

import pytest
import torch
from local_networks import COMPLEX, write_prior
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.priors import planes
from medscore.priors.across import Across, Denoised
from medscore.priors.analytic import GaussianPrior
from medscore.priors.checkpoint import load_prior
from medscore.priors.planes import Planes
from medscore.priors.slicewise import Slicewise
from medscore.sdes.linear import VE, VP

SIDE = 4


def prior(sde: VE | VP, seed: int = 0) -> GaussianPrior:
    """Gaussian images of 4 x 4 pixels."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(16, 16, generator=generator, dtype=torch.float64)
    return GaussianPrior(sde, torch.zeros(16).double(), root @ root.T / 16)


def cube(seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 1, SIDE, SIDE, SIDE, generator=generator, dtype=torch.float64)


def denoised_along(own: GaussianPrior, x: Tensor, t: Tensor, axis: int) -> Tensor:
    """The volume whose slices across an axis are denoised one by one."""
    return Slicewise(own).denoise(x.movedim(axis, 2), t).movedim(2, axis)


@pytest.mark.parametrize("sde", [VE(0.01, 20.0), VP()])
def test_it_is_the_weighted_mean_of_the_denoisers_of_three_orientations(sde: VE | VP) -> None:
    """The score of the product of the three priors, each to the power of its weight."""
    own, x, t = prior(sde), cube(), torch.tensor([0.5, 0.5]).double()
    rule = Planes(share=0.4).placed(own, (1.0, 1.0))
    expected = sum(
        weight * denoised_along(own, x, t, axis) for weight, axis in ((0.6, 2), (0.2, 3), (0.2, 4))
    )
    torch.testing.assert_close(Across(own, rule).denoise(x, t), expected)


def test_the_prior_of_the_other_orientations_may_be_another_on_another_sde() -> None:
    """Both are asked at the same ratio of noise to signal."""
    own, other, x = prior(VE(0.01, 20.0)), prior(VP(), seed=2), cube()
    t = torch.tensor([0.5, 0.5]).double()
    rule = planes.PlanesOfVolume(other, 1.0, 1.0)
    found = Across(own, rule).denoise(x, t)
    s = other.sde.time(own.sde.ratio(t))
    scaled = other.sde.alpha(s)[:, None, None, None, None] * x
    expected = (denoised_along(other, scaled, s, 3) + denoised_along(other, scaled, s, 4)) / 2
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_with_equal_weights_no_axis_is_preferred() -> None:
    """Of isotropic slices: exchanging two axes of the volume exchanges those of the result."""
    own = GaussianPrior(VE(0.01, 20.0), torch.zeros(16).double(), _smooth())
    rule = Planes().placed(own, (1.0, 1.0))
    x, t = cube(), torch.tensor([0.5, 0.5]).double()
    found = Across(own, rule).denoise(x.transpose(2, 4), t)
    torch.testing.assert_close(found, Across(own, rule).denoise(x, t).transpose(2, 4))


def _smooth() -> Tensor:
    place = torch.arange(SIDE).double()
    near = torch.exp(-0.5 * ((place[:, None] - place) / 1.5) ** 2)
    return torch.kron(near, near) + 1e-3 * torch.eye(16).double()


def test_parts_are_those_of_the_whole_and_nothing_is_shared_without_weight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, x = prior(VE(0.01, 20.0)), cube()
    given = Denoised(0.5 * x, x, 0.3)
    rule = Planes().placed(own, (1.0, 1.0))
    expected = rule.couple(given)[:, :, 1:3]
    monkeypatch.setattr(planes, "AT_A_TIME", 1)
    torch.testing.assert_close(rule.couple(given, slice(1, 3)), expected)
    torch.testing.assert_close(Planes(share=0.0).placed(own, (1, 1)).couple(given), 0.5 * x)


def test_a_network_is_placed_on_the_grids_of_the_other_orientations(tmp_path: Path) -> None:
    path = write_prior(tmp_path / "any.safetensors")
    own = load_prior(path).on_grid((8, 12), 1.0)
    rule = Planes(prior=str(path)).placed(own, (1.1, 1.0))
    x = torch.randn(1, 1, 6, 8, 12, generator=torch.Generator().manual_seed(0))
    found = Across(own, rule).denoise(x, torch.tensor([0.5]))
    assert found.shape == x.shape
    assert bool(found.isfinite().all())
    assert rule.record == {"planes_sha256": load_prior(path).sha256}
    assert Across(own, rule).evaluations_of_a_call == 3


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    own = load_prior(write_prior(tmp_path / "any.safetensors")).on_grid((8, 12), 1.0)
    other = write_prior(tmp_path / "other.safetensors", **COMPLEX)
    fixed = write_prior(tmp_path / "fixed.safetensors", size=16)
    with pytest.raises(MedscoreError, match="2 mm apart, and their pixels are 1 mm wide"):
        Planes().placed(own, (2.0, 1.0))
    with pytest.raises(MedscoreError, match="has modality MR"):
        Planes(prior=str(other)).placed(own, (1.0, 1.0))
    with pytest.raises(MedscoreError, match="knows images of 16 x 16"):
        Planes(prior=str(fixed)).placed(own, (1.0, 1.0))
    with pytest.raises(MedscoreError, match="`share` is 2"):
        Planes(share=2.0)
