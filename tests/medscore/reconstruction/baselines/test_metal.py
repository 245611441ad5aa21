"""Metal artifact reduction in the sinogram: LI and NMAR."""

import pytest
import torch
from dense import disc, metal_ct
from torch import Tensor

from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.metal import interpolate_trace, metal_trace, without_metal
from medscore.operators.ct.projector import project
from medscore.operators.ct.radon import Radon
from medscore.reconstruction.baselines.direct import filled
from medscore.reconstruction.baselines.fbp import FBP
from medscore.reconstruction.baselines.interpolation import LI
from medscore.reconstruction.baselines.nmar import NMAR, smooth, unit_of

N, SPACING = 64, 4.0
GEOMETRY = ParallelBeam(N, SPACING, 96)
ALL = torch.ones(96, 1)
SPARSE = (torch.arange(96) % 4 == 0)[:, None]
views = pytest.mark.parametrize("taken", [ALL, SPARSE], ids=["all views", "sparse views"])


def patient() -> Tensor:
    """Soft tissue with lungs, spine and ribs in air, (1, 1, N, N); air is 0."""
    at = (torch.arange(N, dtype=torch.float64) - (N - 1) / 2) / (N / 2)
    x, y = at[None, :], -at[:, None]
    hu = torch.where((x / 0.9) ** 2 + (y / 0.65) ** 2 < 1, 30.0, -1000.0)
    for side in (-1, 1):
        hu[((x - 0.4 * side) / 0.3) ** 2 + ((y - 0.05) / 0.4) ** 2 < 1] = -820.0
        hu[(x - 0.75 * side) ** 2 + (y + 0.1) ** 2 < 0.005] = 700.0
    hu[x**2 + (y + 0.4) ** 2 < 0.015] = 900.0
    return (hu.float()[None, None] + 1000) / 2500


def metal() -> Tensor:
    """A block of pixels beside the spine and one in front of it, (1, 1, N, N) bool."""
    found = torch.zeros(1, 1, N, N, dtype=torch.bool)
    found[..., 40:44, 36:40] = found[..., 24:27, 30:33] = True
    return found


def scan(taken: Tensor) -> tuple[Radon, Tensor]:
    """Operator and noise-free data of the ``taken`` views, without the rays through metal."""
    operator = Radon(GEOMETRY, without_metal(taken, metal_trace(metal(), GEOMETRY))[0, 0])
    return operator, operator.forward(patient())


@views
def test_li_is_the_back_projection_of_the_interpolated_sinogram(taken: Tensor) -> None:
    operator, y = scan(taken)
    line = interpolate_trace(y, operator.mask(y))
    torch.testing.assert_close(LI().solve(operator, y), Radon(GEOMETRY, taken).fbp(line))


@views
def test_without_a_trace_li_is_filtered_back_projection(taken: Tensor) -> None:
    operator = Radon(GEOMETRY, taken)
    y = operator.forward(patient())
    torch.testing.assert_close(LI().solve(operator, y), FBP().solve(operator, y))


@views
def test_an_ideal_prior_image_fills_the_trace_exactly(taken: Tensor) -> None:
    operator, y = scan(taken)
    whole, _ = filled(operator, y)
    expected = whole.forward(patient())
    found = NMAR().fill(operator, y, expected)
    torch.testing.assert_close(whole.mask(found) * found, expected, atol=2e-4, rtol=1e-4)


def test_where_the_expected_sinogram_is_flat_nmar_interpolates() -> None:
    operator, y = scan(ALL)
    flat = torch.full_like(y, 3.0)
    found = NMAR().fill(operator, y, flat)
    torch.testing.assert_close(found, interpolate_trace(y, operator.mask(y)), atol=1e-3, rtol=1e-4)


@views
def test_measured_rays_stay_as_they_are(taken: Tensor) -> None:
    operator, y = scan(taken)
    expected = torch.rand(y.shape, generator=torch.Generator().manual_seed(0))
    seen = operator.mask(y).bool().expand(y.shape)
    assert torch.equal(NMAR().fill(operator, y, expected)[seen], y[seen])


@views
def test_nmar_is_nearer_to_the_image_than_li(taken: Tensor) -> None:
    """The reference uses the same views of a scan without metal; metal pixels are excluded."""
    operator, y = scan(taken)
    whole, _ = filled(operator, y)
    clean = whole.fbp(project(patient(), GEOMETRY) * whole.mask(y))

    def error(x: Tensor) -> float:
        return float((x - clean)[~metal()].square().mean().sqrt())

    assert error(NMAR().solve(operator, y)) < 0.95 * error(LI().solve(operator, y))


def test_nothing_but_air_stays_finite() -> None:
    operator, y = scan(ALL)
    found = NMAR().solve(operator, torch.zeros_like(y))
    assert float(found.abs().max()) == 0


def test_the_prior_image_has_one_value_for_air_and_one_for_soft_tissue() -> None:
    hu = torch.tensor([-1100.0, -950, -600, -100, 30, 100, 400, 1200]).reshape(1, 1, 1, -1)
    expected = torch.tensor([-1000.0, -1000, -600, 0, 0, 0, 400, 1200]).reshape(1, 1, 1, -1)
    found = NMAR(smoothing=0).prior_image((hu + 1000) / 2500)
    torch.testing.assert_close(found, (expected + 1000) / 2500)
    assert unit_of(0.0) == pytest.approx(0.4)


def test_smoothing_keeps_the_mean_and_spreads_a_point_as_a_gaussian() -> None:
    x = torch.zeros(1, 1, 31, 31, dtype=torch.float64)
    x[..., 15, 15] = 1
    found = smooth(x, 2.0)
    at = torch.arange(31, dtype=torch.float64) - 15
    assert float(found.sum()) == pytest.approx(1)
    assert float((found.sum((0, 1, 2)) * at**2).sum()) == pytest.approx(4, rel=0.01)
    assert torch.equal(smooth(x, 0.0), x)
    torch.testing.assert_close(smooth(torch.ones_like(x), 3.0), torch.ones_like(x))


@pytest.mark.parametrize("baseline", [LI(), NMAR()], ids=["li", "nmar"])
def test_a_trace_of_its_own_for_each_sample(baseline: LI | NMAR) -> None:
    """The result of a batch equals those of its samples."""
    masks = torch.stack([metal_ct().diagonal, metal_ct().diagonal.roll(3, -1)])[:, None]
    geometry, x = metal_ct().geometry, disc(2).float()
    both = Radon(geometry, masks)
    y = both.forward(x)
    alone = [baseline.solve(both.select([i]), y[[i]]) for i in range(2)]
    torch.testing.assert_close(baseline.solve(both, y), torch.cat(alone))
