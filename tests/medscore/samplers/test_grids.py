"""Time grids: ends, direction, and the quantity that each grid spaces equally."""

import pytest
import torch
from torch import Tensor

from medscore.samplers import grids
from medscore.samplers.grids import Grid, angular, geometric, karras, ladder, log_snr, uniform
from medscore.sdes.base import SDE
from medscore.sdes.ddpm import DDPM
from medscore.sdes.linear import VE, VP, SubVP

SDES: list[SDE] = [VE(0.01, 50.0), VP(), SubVP(), DDPM(50)]
GRIDS: list[Grid] = [uniform, geometric, log_snr, karras, angular]
all_sdes = pytest.mark.parametrize("sde", SDES, ids=lambda sde: type(sde).__name__)


def spacing(values: Tensor) -> float:
    """The largest difference of a step to the mean step, relative to the mean."""
    steps = values.diff()
    return float((steps / steps.mean() - 1).abs().max())


@all_sdes
@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.__name__)
@pytest.mark.parametrize("steps", [1, 2, 37])
def test_grids_fall_from_one_to_eps(sde: SDE, grid: Grid, steps: int) -> None:
    times = grid(sde, steps)
    assert times.shape == (steps + 1,)
    assert (float(times[0]), float(times[-1])) == pytest.approx((1.0, sde.eps))
    assert bool((times.diff() < 0).all())


@all_sdes
def test_each_grid_spaces_its_own_measure_equally(sde: SDE) -> None:
    """The tolerance of 0.2 % is the rounding error of the times in float32."""

    def ratio(t: Tensor) -> Tensor:
        return sde.sigma(t) / sde.alpha(t)

    assert spacing(uniform(sde, 20)) < 1e-3
    assert spacing(sde.sigma(geometric(sde, 20).double()).log()) < 2e-3
    assert spacing(ratio(log_snr(sde, 20).double()).log()) < 2e-3
    assert spacing(ratio(karras(sde, 20).double()) ** (1 / 7)) < 2e-3
    angle = torch.arctan((ratio(angular(sde, 20).double()) / 0.5) ** 0.5)
    assert spacing(angle) < 2e-3
    assert spacing(ratio(karras(sde, 20, rho=3.0).double()) ** (1 / 3)) < 2e-3


def test_on_ve_three_of_them_agree() -> None:
    for other in (geometric, log_snr):
        torch.testing.assert_close(other(VE(), 30), uniform(VE(), 30), atol=1e-6, rtol=1e-5)


def test_a_wide_angle_is_log_snr() -> None:
    wide = angular(VP(), 30, centre=1.0, width=1000.0)
    torch.testing.assert_close(wide, log_snr(VP(), 30), atol=1e-4, rtol=0)


def test_a_ladder_visits_its_levels_and_the_first_twice() -> None:
    sde, levels = VE(0.1, 10.0, eps=0.0), [10.0, 3.0, 0.5, 0.1]
    times = ladder(sde, levels)
    assert times[0] == times[1]
    torch.testing.assert_close(sde.sigma(times[1:]), torch.tensor(levels))


@pytest.mark.parametrize("levels", [[], [1.0, 2.0], [20.0, 1.0], [1.0, 1e-3], [1.0, 1.0]])
def test_impossible_ladders_are_refused(levels: list[float]) -> None:
    with pytest.raises(ValueError, match="levels"):
        grids.ladder(VE(0.1, 10.0), levels)
