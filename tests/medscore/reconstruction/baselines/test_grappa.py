"""GRAPPA: the predictions in dense matrices, what it needs, and what it refuses."""

from itertools import product

import pytest
import torch
from coil_scan import COILS, N, scan
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.operators.mri.masks import variable_density_2d
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.wrappers.padded import Padded
from medscore.reconstruction.baselines.grappa import GRAPPA

pytest.importorskip("pygrappa", exc_type=ImportError)
LINES = torch.arange(N)
CENTRE = (LINES >= N // 2 - 8) & (LINES < N // 2 + 8)


def half(every: int = 2) -> Tensor:
    """Mask of every second line and the centre."""
    return (CENTRE | (LINES % every == 0)).expand(N, N)


def predicted(kspace: Tensor, mask: Tensor, grappa: GRAPPA, y: int, x: int) -> Tensor:
    """A missing sample of all coils by the equations of the module."""
    ry, rx = grappa.readout // 2, grappa.width // 2
    inside = [
        (dy, dx)
        for dy, dx in product(range(-ry, ry + 1), range(-rx, rx + 1))
        if bool(mask[y + dy, x + dx])
    ]
    centre = torch.zeros(COILS, N + 2 * ry, 16 + 2 * rx, dtype=torch.complex128)
    centre[:, ry : ry + N, rx : rx + 16] = kspace[:, :, N // 2 - 8 : N // 2 + 8]
    at = list(product(range(ry, ry + N), range(rx, rx + 16)))
    sources = torch.stack([
        torch.cat([centre[:, r + dy, c + dx] for dy, dx in inside]) for r, c in at
    ])  # fmt: skip
    targets = torch.stack([centre[:, r, c] for r, c in at])
    gram = sources.mH @ sources
    damping = grappa.weight * torch.linalg.matrix_norm(gram) / len(gram)
    weights = torch.linalg.solve(gram + damping * torch.eye(len(gram)), sources.mH @ targets)
    return torch.cat([kspace[:, y + dy, x + dx] for dy, dx in inside]) @ weights


def undersampled(mask: Tensor) -> tuple[MulticoilFourier, Tensor, Tensor]:
    full, maps, _ = scan()
    image = MulticoilFourier(maps, torch.ones(N, N)).T_inv(full)
    operator = MulticoilFourier(maps, mask)
    return operator, operator.forward(image), image


def test_a_missing_sample_is_the_least_squares_prediction() -> None:
    _, y, _ = undersampled(half())
    grappa, kspace = GRAPPA(weight=0.01, readout=3, width=3), y[0] / y.abs().max()
    found = grappa.complete(kspace, half())
    row, column = N // 2 + 5, N // 2 + 11
    expected = predicted(kspace.to(torch.complex128), half(), grappa, row, column)
    torch.testing.assert_close(found[:, row, column], expected.to(found), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("dead", [None, 0])
def test_aliasing_is_removed(dead: int | None) -> None:
    """Also where the first coil has no signal."""
    operator, y, image = undersampled(half())
    if dead is not None:
        y[:, dead] = 0
        operator.sensitivity = operator.sensitivity.clone()
        operator.sensitivity[dead] = 0
    error = float((GRAPPA(weight=1e-4, width=5).solve(operator, y) - image).norm() / image.norm())
    aliased = float((operator.zero_filled(y) - image).norm() / image.norm())
    assert error < 0.3 * aliased


def test_measured_samples_are_kept_and_a_batch_has_the_images_of_each() -> None:
    operator, y, _ = undersampled(half())
    pair = torch.cat([y, y.flip(-2)])
    short = GRAPPA(readout=3, width=3)
    both = short.solve(operator, pair)
    torch.testing.assert_close(both[1:], short.solve(operator, pair[1:]))
    full = MulticoilFourier(operator.sensitivity, torch.ones(N, N))
    torch.testing.assert_close(short.solve(full, y), full.T_inv(y))


def test_single_missing_samples_and_padded_images_are_completed() -> None:
    mask = variable_density_2d((N, N), 2.0, torch.Generator().manual_seed(0), centre=16)
    operator, y, image = undersampled(mask)
    found = GRAPPA(weight=0.01, readout=3, width=3).solve(Padded(operator, N - 8, N), y)
    expected = image[..., 4:-4, :]
    aliased = operator.zero_filled(y)[..., 4:-4, :]
    assert float((found - expected).norm()) < 0.9 * float((aliased - expected).norm())


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        (CENTRE.expand(N, N), "whose 64 x 16 samples are fewer than those of a window of 5 x 17"),
        ((LINES % 2 == 0).expand(N, N), "whose 0 x 0 samples are fewer"),
    ],
)
def test_a_centre_smaller_than_the_window_is_refused(mask: Tensor, why: str) -> None:
    operator, y, _ = undersampled(mask)
    with pytest.raises(MedscoreError, match=f"{why}.* - decrease `width`") as caught:
        GRAPPA(width=17).solve(operator, y)
    assert "\n" not in str(caught.value)


def test_one_coil_is_refused() -> None:
    operator, y, _ = undersampled(half())
    alone = MulticoilFourier(operator.sensitivity[:1], half())
    with pytest.raises(MedscoreError, match=r"grappa reconstructs .* several coils, not .*1 coils"):
        GRAPPA().solve(alone, y[:, :1])
