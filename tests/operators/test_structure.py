"""A^H A as one map of images: it is what it replaces, and least squares by it are exact."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.mri.fourier import Fourier
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.real_images import Phased, TwoChannels
from medscore.operators.wrappers.padded import Padded
from medscore.operators.wrappers.whitened import Whitened

LINES = torch.tensor([1, 0, 0, 1, 1, 1, 0, 0, 1], dtype=torch.bool)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.complex128, generator=generator(seed))


def coils(mask: Tensor, batch: int = 1, count: int = 3) -> MulticoilFourier:
    return MulticoilFourier(noise(batch, count, *mask.shape[-2:]), mask)


MASKS: dict[str, Tensor] = {
    "columns": LINES.expand(8, 9),
    "rows": LINES[:, None].expand(9, 8),
    "points": torch.rand(7, 9, generator=generator()) < 0.5,
    "everything": torch.ones(6, 9, dtype=torch.bool),
    "each its own": torch.stack([LINES.expand(8, 9), LINES.flip(0).expand(8, 9)])[:, None],
    "columns and points": torch.stack(
        [LINES.expand(8, 9), torch.rand(8, 9, generator=generator()) < 0.5]
    )[:, None],
}

KNOWN: dict[str, Callable[[], Operator]] = {
    **{name: lambda mask=mask: coils(mask) for name, mask in MASKS.items()},
    "maps of each sample": lambda: coils(MASKS["columns"], batch=2),
    "two channels": lambda: TwoChannels(coils(MASKS["columns"])),
    "phased": lambda: Phased(coils(MASKS["points"]), torch.sgn(noise(2, 1, 7, 9, seed=1))),
    "padded": lambda: Padded(coils(MASKS["columns"]), 5, 8),
    "one noise level": lambda: Whitened(coils(MASKS["points"]), torch.full((1, 1, 1, 1), 0.3)),
    "a noise level of each sample": lambda: Whitened(
        TwoChannels(coils(MASKS["columns"])), torch.tensor([0.3, 2.0]).reshape(2, 1, 1, 1)
    ),
}

UNKNOWN: dict[str, Callable[[], Operator]] = {
    "one coil": lambda: Fourier(MASKS["points"]),
    "two channels of one coil": lambda: TwoChannels(Fourier(MASKS["points"])),
    "noise levels of the coils": lambda: Whitened(
        coils(MASKS["points"]), torch.tensor([0.3, 0.3, 0.4]).reshape(1, 3, 1, 1)
    ),
}


def image(operator: Operator) -> Tensor:
    """Two images on which the operator acts."""
    shape = operator.image_shape
    if isinstance(operator, Phased):
        return noise(2, 1, *shape, seed=2).real
    if len(shape) == 3:
        return noise(2, *shape, seed=2).real
    return noise(2, 1, *shape, seed=2)


@pytest.mark.parametrize("name", KNOWN)
def test_it_is_the_adjoint_of_a_times_a(name: str) -> None:
    operator = KNOWN[name]()
    x = image(operator)
    y = operator.forward(x)
    normal = operator.normal(y)
    assert normal is not None
    expected, calls = operator.adjoint(y), operator.calls
    torch.testing.assert_close(normal(x), expected, rtol=1e-10, atol=1e-10)
    assert operator.calls == calls + 2


@pytest.mark.parametrize("name", UNKNOWN)
def test_nothing_is_known_where_it_would_cost_as_much_or_be_wrong(name: str) -> None:
    operator = UNKNOWN[name]()
    assert operator.normal(operator.forward(image(operator))) is None


@pytest.mark.parametrize("name", KNOWN)
def test_damped_least_squares_by_it_are_exact(name: str) -> None:
    """The gradient A^H (A x' - y) + delta (x' - x) is zero, for each sample with its own delta."""
    operator = KNOWN[name]()
    x = image(operator)
    y = operator.mask(x) * noise(*operator.forward(x).shape, seed=3)
    delta = torch.tensor([0.5, 3.0], dtype=torch.float64)
    found = operator.tikhonov(x, y, delta, iterations=200, tol=1e-12)
    pull = delta.reshape(2, 1, 1, 1) * (found - x)
    torch.testing.assert_close(operator.adjoint(y - operator.forward(found)), pull)


def test_samples_do_not_influence_each_other() -> None:
    operator = KNOWN["each its own"]()
    x = image(operator)
    y = operator.mask(x) * noise(*operator.forward(x).shape, seed=3)
    delta = torch.tensor([0.01, 3.0], dtype=torch.float64)
    both = operator.tikhonov(x, y, delta, iterations=9, tol=1e-3)
    for i in range(2):
        one = operator.select([i])
        alone = one.tikhonov(x[i : i + 1], y[i : i + 1], delta[i : i + 1], iterations=9, tol=1e-3)
        torch.testing.assert_close(both[i : i + 1], alone, rtol=1e-12, atol=1e-12)
