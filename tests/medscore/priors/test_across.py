"""Total variation between slices: its optimality, its limits, and volumes in either layout."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from medscore.errors import MedscoreError
from medscore.priors import slice_tv
from medscore.priors.across import Across, Coupling, Denoised, Independent
from medscore.priors.analytic import GaussianPrior
from medscore.priors.slice_tv import SliceTV, tv_between_slices
from medscore.priors.slicewise import Slicewise
from medscore.sdes.linear import VE

SCALES = (None, torch.tensor([1.0, 0.5, 2.0, 1.5, 0.8]).reshape(-1, 1, 1).double())


def volume(slices: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 1, slices, 3, 4, generator=generator, dtype=torch.float64)


def denoised(x: torch.Tensor, ratio: float, units: torch.Tensor | None = None) -> Denoised:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    return Denoised(x, x + ratio * noise, ratio, units)


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("weight", [0.05, 0.4, 3.0])
def test_the_minimum_has_no_duality_gap(weight: float, scales: torch.Tensor | None) -> None:
    """Primal minus dual value bounds the distance to the minimum, by strong convexity."""
    x = volume()
    c = 1.0 if scales is None else scales
    found = tv_between_slices(x, weight, 3000, scales)
    jumps = (c * found).diff(dim=-3)
    primal = 0.5 * (found - x).square().sum() + weight * jumps.abs().sum()
    # x - found = c G^T p determines p, because G^T has no kernel
    p = -((x - found) / c).cumsum(-3)[..., :-1, :, :]
    assert float(p.abs().max()) <= weight * (1 + 1e-6)
    dual = 0.5 * x.square().sum() - 0.5 * found.square().sum()
    assert abs(float(primal - dual)) <= 1e-5 * float(primal)


def test_the_minimum_is_that_of_a_general_solver() -> None:
    """The differences become parts of both signs, which makes the problem smooth."""
    x = volume(4)[0, 0, :, 0, 0].numpy()

    def image(parts: np.ndarray) -> np.ndarray:
        rises = parts[1:4] - parts[4:]
        return np.concatenate([parts[:1], parts[0] + rises.cumsum()])

    def value(parts: np.ndarray) -> float:
        return float(0.5 * ((image(parts) - x) ** 2).sum() + 0.3 * parts[1:].sum())

    bounds = [(None, None), *[(0, None)] * 6]
    best = minimize(value, np.zeros(7), bounds=bounds, options={"ftol": 1e-15, "gtol": 1e-10})
    expected = image(best.x)
    found = tv_between_slices(torch.from_numpy(x)[:, None, None], 0.3, 2000)[:, 0, 0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_a_large_weight_makes_all_slices_their_mean_and_no_weight_changes_nothing() -> None:
    x = volume()
    constant = tv_between_slices(x, 1e3, 4000)
    torch.testing.assert_close(constant, x.mean(2, keepdim=True).expand_as(x), atol=1e-6, rtol=0)
    torch.testing.assert_close(tv_between_slices(x, 0.0, 10), x)


def test_the_weight_follows_the_noise_the_jumps_and_the_strength() -> None:
    x = volume()
    jump = float(x.diff(dim=2).abs().mean())
    found = SliceTV(strength=0.2, iterations=50).couple(denoised(x, 0.7))
    torch.testing.assert_close(found, tv_between_slices(x, 0.2 / jump * 0.49, 50))
    larger = SliceTV(strength=0.2, iterations=50).couple(denoised(100 * x, 70.0))
    torch.testing.assert_close(larger, 100 * found)  # no unit of the values is preferred


def test_the_order_of_the_slices_may_be_reversed() -> None:
    x = volume()
    rule = SliceTV(strength=0.5)
    torch.testing.assert_close(
        rule.couple(denoised(x.flip(2), 1.0)), rule.couple(denoised(x, 1.0)).flip(2)
    )


def test_slices_with_scales_of_their_own_are_compared_in_the_same_unit() -> None:
    """Equal images with other scales have no jumps, and stay as they are."""
    units = torch.tensor([1.0, 2.0, 4.0, 8.0])
    same = volume(1).expand(2, 1, 4, 3, 4) / units.reshape(-1, 1, 1)
    found = SliceTV(strength=1.0).couple(denoised(same, 1.0, units))
    torch.testing.assert_close(found, same)
    assert not torch.allclose(SliceTV(strength=1.0).couple(denoised(same, 1.0)), same)


def test_equal_slices_and_one_slice_stay_as_they_are() -> None:
    same = volume(1).expand(2, 1, 4, 3, 4)
    torch.testing.assert_close(SliceTV().couple(denoised(same, 1.0)), same)
    torch.testing.assert_close(SliceTV().couple(denoised(volume(1), 1.0)), volume(1))
    with pytest.raises(MedscoreError, match="`strength` is -1"):
        SliceTV(strength=-1)


def test_rows_at_a_time_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, units = volume(), torch.tensor([1.0, 2.0, 4.0, 8.0, 1.0])
    expected = SliceTV(strength=0.5).couple(denoised(x, 0.7, units))
    monkeypatch.setattr(slice_tv, "AT_A_TIME", 1)
    torch.testing.assert_close(SliceTV(strength=0.5).couple(denoised(x, 0.7, units)), expected)


def gaussian() -> GaussianPrior:
    return GaussianPrior(VE(0.01, 20.0), torch.zeros(12), 0.3 * torch.eye(12))


@pytest.mark.parametrize("rule", [Independent(), SliceTV(strength=0.5)])
def test_stacked_slices_and_volumes_are_the_same_in_parts_of_any_size(rule: Coupling) -> None:
    x = volume().float()[:1]
    t = torch.tensor([0.4])
    own = gaussian()
    expected = rule.couple(denoised(Slicewise(own).denoise(x, t), float(own.sde.ratio(t))))
    torch.testing.assert_close(Across(own, rule).denoise(x, t), expected)
    slices = x[0].transpose(0, 1)
    for size in (1, 2, 5):
        stacked = Across(own, rule, at_a_time=size, stacked=True).denoise(slices, t.expand(5))
        torch.testing.assert_close(stacked, expected[0].transpose(0, 1))
