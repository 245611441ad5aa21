"""Stacks of slices, masks per sample, subsets of what was measured, padding."""

import pytest
import torch

from medscore.operators.base import Operator, check_mask
from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.scans import sparse_view
from medscore.operators.images.inpainting import Inpainting
from medscore.operators.mri.fourier import Fourier
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.sensitivity import birdcage
from medscore.operators.wrappers.padded import Padded
from medscore.operators.wrappers.restricted import Restricted
from medscore.operators.wrappers.stack import Stack


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def bits(*shape: int) -> torch.Tensor:
    return draw(*shape, seed=9) > 0


GEOMETRY = ParallelBeam(10, 1.0, 12)


def test_a_stack_is_its_slices_one_by_one() -> None:
    mask, x = bits(3, 1, 12, 1), draw(2, 1, 3, 10, 10)
    stack = Stack(Radon(GEOMETRY, mask), 3)
    y = stack.forward(x)
    assert y.shape == (2, 1, 3, 12, GEOMETRY.detectors)
    for k in range(3):
        alone = Radon(GEOMETRY, mask[k, 0])
        torch.testing.assert_close(y[:, :, k], alone.forward(x[:, :, k]))
        torch.testing.assert_close(stack.adjoint(y)[:, :, k], alone.adjoint(y[:, :, k]))


def test_a_stack_of_coils_keeps_each_slices_maps() -> None:
    maps = torch.stack([birdcage(3, 6, 8), birdcage(3, 6, 8).flip(0)]).to(torch.complex128)
    x = torch.complex(draw(2, 1, 2, 6, 8), draw(2, 1, 2, 6, 8, seed=1))
    stack = Stack(MulticoilFourier(maps, bits(6, 8)), 2)
    y = stack.forward(x)
    assert y.shape == (2, 3, 2, 6, 8)
    for k in range(2):
        alone = MulticoilFourier(maps[k], bits(6, 8))
        torch.testing.assert_close(y[:, :, k], alone.forward(x[:, :, k]))


OF_EACH = {
    "radon": lambda m: Radon(GEOMETRY, m(3, 1, 12, 1)),
    "inpainting": lambda m: Inpainting(m(3, 1, 10, 10)),
    "fourier": lambda m: Fourier(m(3, 1, 10, 10)),
    "padded": lambda m: Padded(Inpainting(m(3, 1, 12, 12)), 10, 10),
    "restricted": lambda m: Restricted(Inpainting(torch.ones(10, 10)), m(3, 1, 10, 10)),
}


@pytest.mark.parametrize("name", OF_EACH)
def test_masks_per_sample_are_those_of_each_sample(name: str) -> None:
    operator: Operator = OF_EACH[name](bits)  # type: ignore[no-untyped-call]
    x = draw(3, 1, 10, 10)
    x = torch.complex(x, x.flip(-1)) if name == "fourier" else x
    y = operator.forward(x)
    assert not torch.equal(operator.diagonal[0], operator.diagonal[1])
    for order in ([0], [2, 0], [1, 1, 2]):
        chosen = operator.select(order)
        torch.testing.assert_close(chosen.forward(x[order]), y[order])
    before = operator.calls
    operator.select([1]).forward(x[:1])
    assert operator.calls == before + 1


def test_select_returns_the_operator_itself_if_samples_share_the_mask() -> None:
    operator = sparse_view(12, 1.0, 5)
    assert operator.select([0, 0, 3]) is operator


def test_a_subset_of_the_views_is_the_scan_of_those_views() -> None:
    whole = sparse_view(12, 1.0, 6)
    held_out = torch.zeros(whole.geometry.views, 1, dtype=torch.bool)
    held_out[whole.measured.nonzero()[::2, 0]] = True
    x = draw(2, 1, 12, 12)
    kept = Restricted(whole, ~held_out)
    torch.testing.assert_close(kept.forward(x), whole.forward(x) * ~held_out)
    direct = Radon(whole.geometry, whole.diagonal & ~held_out)
    torch.testing.assert_close(kept.forward(x), direct.forward(x))
    torch.testing.assert_close(Restricted(whole, held_out).forward(x) + kept.forward(x),
                               whole.forward(x))  # fmt: skip


@pytest.mark.parametrize("every", [1, 2, 8])
def test_radon_measures_the_same_with_and_without_a_matrix_for_its_views(every: int) -> None:
    """One view in eight has a matrix of its own; all views, or half of them, use T and the mask."""
    measured = (torch.arange(32) % every == 0)[:, None]
    operator, x = Radon(ParallelBeam(16, 1.0, 32), measured), draw(2, 1, 16, 16)
    y = Operator.forward(operator, x)
    torch.testing.assert_close(operator.forward(x), y)
    torch.testing.assert_close(operator.adjoint(y), Operator.adjoint(operator, y))


def test_padding_is_zeros_around_the_image() -> None:
    inner = sparse_view(12, 1.0, 5)
    operator, x = Padded(inner, 9, 10), draw(2, 1, 9, 10)
    wide = torch.zeros(2, 1, 12, 12).double()
    wide[..., 1:10, 1:11] = x
    torch.testing.assert_close(operator.forward(x), inner.forward(wide))
    y = operator.forward(x)
    torch.testing.assert_close(operator.adjoint(y), inner.adjoint(y)[..., 1:10, 1:11])
    with pytest.raises(ValueError, match="13x5 does not fit into 12x12"):
        Padded(inner, 13, 5)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(4, 5), r"shape \(4, 5\), the grid \(4, 6\)"),
        (torch.ones(3, 1, 4, 5), r"shape \(3, 1, 4, 5\)"),
        (torch.full((4, 6), 0.5), "contain only 0 and 1"),
        (torch.zeros(4, 6), "nothing is measured"),
        (torch.full((4, 6), float("nan")), "contain only 0 and 1"),
    ],
)
def test_an_invalid_mask_is_refused(mask: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_mask(mask, (4, 6))
