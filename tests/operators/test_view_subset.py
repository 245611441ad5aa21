"""The projector of a few views against the rows of the full one."""

import pytest
import torch

from medscore.operators.base import Operator
from medscore.operators.projector import ParallelBeam, backproject, project
from medscore.operators.radon import Radon
from medscore.operators.view_subset import backproject_views, project_views

GRIDS = [(16, 16), (17, 20), (12, 4)]
grids = pytest.mark.parametrize(("size", "views"), GRIDS)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@grids
def test_each_view_is_that_row_of_the_full_transform(size: int, views: int) -> None:
    geometry, x = ParallelBeam(size, 1.5, views), draw(2, 1, size, size)
    full = project(x, geometry)
    for view in range(views):
        row = project_views(x, geometry, (view,))
        torch.testing.assert_close(row, full[..., view : view + 1, :])


@grids
def test_views_may_come_in_any_order(size: int, views: int) -> None:
    geometry, x = ParallelBeam(size, 1.5, views), draw(1, 1, size, size)
    chosen = (views - 1, 0, views // 2)
    expected = project(x, geometry)[..., list(chosen), :]
    torch.testing.assert_close(project_views(x, geometry, chosen), expected)


@grids
def test_the_adjoint_is_exact(size: int, views: int) -> None:
    geometry, chosen = ParallelBeam(size, 1.5, views), (0, 1, views - 1)
    y = draw(2, 1, 3, geometry.detectors)
    full = torch.zeros(2, 1, views, geometry.detectors).double()
    full[..., list(chosen), :] = y
    torch.testing.assert_close(backproject_views(y, geometry, chosen), backproject(full, geometry))


def test_gradients_pass_through() -> None:
    geometry = ParallelBeam(6, 1.0, 8)
    x = draw(1, 1, 6, 6).requires_grad_()
    y = draw(1, 1, 2, geometry.detectors).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: project_views(v, geometry, (1, 5)), x)
    assert torch.autograd.gradcheck(lambda v: backproject_views(v, geometry, (1, 5)), y)


@pytest.mark.parametrize("every", [1, 2, 8])
def test_radon_measures_the_same_with_and_without_it(every: int) -> None:
    """One view in eight goes through the subset; all, or one in two, through T and the mask."""
    measured = torch.arange(32) % every == 0
    operator = Radon(ParallelBeam(16, 1.0, 32), measured)
    x = draw(2, 1, 16, 16)
    y = Operator.forward(operator, x)
    torch.testing.assert_close(operator.forward(x), y)
    torch.testing.assert_close(operator.adjoint(y), Operator.adjoint(operator, y))
