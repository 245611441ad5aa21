"""Total variation across slices: the minimiser, its boundary conditions, and slicewise priors."""

import pytest
import torch
from torch import Tensor

from medscore.conditioners.volume_tv import NOTHING, REPEATED, Boundary, VolumeTV
from medscore.operators.images.inpainting import Inpainting
from medscore.operators.wrappers.stack import Stack
from medscore.priors.analytic import GaussianPrior
from medscore.priors.slicewise import Slicewise
from medscore.sdes.linear import VE

Z, SIDE = 6, 4


def volume(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 1, Z, SIDE, SIDE, generator=generator, dtype=torch.float64)


def operator() -> Stack:
    mask = torch.zeros(SIDE, SIDE)
    mask[:2] = 1
    return Stack(Inpainting(mask), Z)


def solved(denoised: Tensor, y: Tensor, boundary: Boundary, weight: float = 0.2) -> Tensor:
    conditioner = VolumeTV(
        operator(), y, weight, 0.5, 0.5, sweeps=400, iterations=40, boundary=boundary
    )
    return conditioner.solve(denoised, torch.ones(2).double())


def test_the_minimum_satisfies_the_optimality_conditions() -> None:
    """The minimiser has a subgradient p: the gradient of the smooth part is -D^T p.

    |p| is at most ``weight``, and p is ``weight`` times the sign of D x where D x is not zero. p is
    the sum of the gradients over the previous slices.
    """
    a, d = operator(), volume()
    y = a.forward(volume(1))
    x = solved(d, y, REPEATED)
    gradient = a.adjoint(a.forward(x) - y) + 0.5 * (x - d)
    # D^T p = -gradient with p zero beyond the ends: p_k = sum of the gradients up to slice k
    p = gradient.cumsum(2)
    assert float(p[:, :, -1].abs().max()) < 1e-6
    p, step = p[:, :, :-1], x[:, :, 1:] - x[:, :, :-1]
    assert float(p.abs().max()) < 0.2 + 1e-6
    jumps = step.abs() > 1e-4
    assert 10 < int(jumps.sum()) < jumps.numel()
    assert float((p - 0.2 * step.sign())[jumps].abs().max()) < 1e-5


def test_boundaries_have_exact_adjoints_and_never_join_the_ends() -> None:
    generator = torch.Generator().manual_seed(2)
    for boundary, count, first in ((REPEATED, Z - 1, 1), (NOTHING, Z + 1, 2)):
        x = volume()
        v = torch.randn(2, 1, count, SIDE, SIDE, generator=generator, dtype=torch.float64)
        gap = (boundary.differences(x) * v).sum() - (x * boundary.adjoint(v)).sum()
        assert abs(float(gap)) < 1e-12
        changed = x.clone()
        changed[:, :, 0] += 1
        moved = (boundary.differences(changed) - boundary.differences(x)).abs().amax((0, 1, 3, 4))
        assert bool((moved[:first] > 0).all())
        assert bool((moved[first:] == 0).all())


def test_zero_beyond_pulls_the_end_slices_down() -> None:
    """A constant volume is kept between repeated end slices, and reduced at zero boundaries."""
    d = torch.ones(2, 1, Z, SIDE, SIDE).double()
    y = operator().forward(d)
    torch.testing.assert_close(solved(d, y, REPEATED), d, atol=1e-8, rtol=0)
    assert float(solved(d, y, NOTHING).mean()) < 0.95


@pytest.mark.slow
def test_the_slices_reversed_give_the_result_reversed() -> None:
    d, y = volume(), operator().forward(volume(1))
    for boundary in (REPEATED, NOTHING):
        there = solved(d, y, boundary)
        back = solved(d.flip(2), y.flip(2), boundary).flip(2)
        torch.testing.assert_close(there, back, atol=1e-7, rtol=0)


def test_without_weight_it_is_the_damped_step() -> None:
    d, y = volume(), operator().forward(volume(1))
    expected = operator().tikhonov(d, y, torch.full((2,), 0.5).double(), iterations=20)
    torch.testing.assert_close(solved(d, y, REPEATED, weight=0.0), expected, atol=1e-7, rtol=0)


def test_slices_are_denoised_as_images() -> None:
    prior = GaussianPrior(VE(), torch.linspace(0, 1, 16).double(), torch.eye(16).double())
    x, t = volume(), torch.tensor([0.3, 0.6]).double()
    found = Slicewise(prior).denoise(x, t)
    for b in range(2):
        for z in range(Z):
            expected = prior.denoise(x[b : b + 1, :, z], t[b : b + 1])
            torch.testing.assert_close(found[b : b + 1, :, z], expected)
