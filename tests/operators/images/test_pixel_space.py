"""Inpainting, colorization, super-resolution and blur, compared with their definitions."""

import math

import pytest
import torch

from medscore.operators.images.blur import Blur, gaussian_kernel, hartley, motion_kernel
from medscore.operators.images.colorization import Colorization, M
from medscore.operators.images.inpainting import Inpainting
from medscore.operators.images.super_resolution import SuperResolution, cosines


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_inpainting_keeps_the_known_pixels() -> None:
    mask, x = draw(6, 7, seed=1) > 0, draw(2, 3, 6, 7)
    y = Inpainting(mask).forward(x)
    assert torch.equal(y[..., mask], x[..., mask])
    assert not bool(y[..., ~mask].any())


def test_the_colour_matrix_is_the_dissertations_and_orthogonal() -> None:
    """B.5.9 prints 0.577, -0.816, 0.408 and 0.707."""
    printed = torch.tensor(
        [[0.577, -0.816, 0.0], [0.577, 0.408, 0.707], [0.577, 0.408, -0.707]], dtype=torch.float64
    )
    assert float((M - printed).abs().max()) < 5e-4
    torch.testing.assert_close(M.T @ M, torch.eye(3, dtype=torch.float64))


def test_colorization_measures_the_mean_of_the_colours() -> None:
    operator, x = Colorization(4, 5), draw(2, 3, 4, 5)
    y = operator.forward(x)
    grey = x.mean(1, keepdim=True)
    torch.testing.assert_close(operator.grey(y), grey)
    torch.testing.assert_close(operator.measurement(grey), y)


def test_super_resolution_measures_block_means() -> None:
    operator, x = SuperResolution(6, 9, 3), draw(2, 2, 6, 9)
    y = operator.forward(x)
    means = torch.nn.functional.avg_pool2d(x, 3)
    torch.testing.assert_close(operator.low_resolution(y), means)
    torch.testing.assert_close(operator.measurement(means), y)


def test_the_pseudo_inverse_of_super_resolution_repeats_each_mean() -> None:
    operator, x = SuperResolution(4, 4, 2), draw(1, 1, 4, 4)
    expected = (
        torch.nn.functional.avg_pool2d(x, 2).repeat_interleave(2, -1).repeat_interleave(2, -2)
    )
    torch.testing.assert_close(operator.pinv(operator.forward(x)).x, expected)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_block_transform_is_orthogonal(n: int) -> None:
    torch.testing.assert_close(cosines(n) @ cosines(n).T, torch.eye(n, dtype=torch.float64))


def test_a_factor_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="`factor` 4 does not divide 12x10"):
        SuperResolution(12, 10, 4)


def convolved(x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Circular convolution by the definition."""
    out, (m, n) = torch.zeros_like(x), kernel.shape
    for i in range(m):
        for j in range(n):
            out += kernel[i, j] * x.roll((i - m // 2, j - n // 2), (-2, -1))
    return out


@pytest.mark.parametrize("shape", [(12, 12), (11, 14), (13, 9)])
def test_a_blur_without_lost_frequencies_is_the_circular_convolution(
    shape: tuple[int, int],
) -> None:
    kernel = torch.tensor([[0.0, 0.1, 0.0], [0.2, 0.9, 0.05], [0.0, 0.15, 0.1]]).double()
    operator, x = Blur(kernel, *shape, threshold=1e-6), draw(2, 1, *shape)
    assert bool(operator.diagonal.all())
    y = operator.forward(x)
    torch.testing.assert_close(operator.blurred(y), convolved(x, kernel))
    torch.testing.assert_close(operator.measurement(convolved(x, kernel)), y)
    torch.testing.assert_close(operator.pinv(y).x, x)


def test_a_strong_blur_loses_the_high_frequencies_alone() -> None:
    operator = Blur(gaussian_kernel(1.5), 32, 32)
    x = draw(1, 1, 32, 32)
    y = operator.forward(x)
    gap = (operator.blurred(y) - convolved(x, gaussian_kernel(1.5))).norm() / x.norm()
    assert float(gap) <= 0.01  # unmeasured frequencies have a gain below 1 %
    assert 0.05 < float(operator.diagonal.double().mean()) < 0.5
    assert bool(operator.diagonal[0, 0])
    assert not bool(operator.diagonal[16, 16])


def test_the_mask_of_a_blur_is_the_same_at_k_and_minus_k() -> None:
    for shape in ((16, 13), (15, 12)):
        mask = Blur(motion_kernel(4.0, 0.6), *shape).diagonal
        assert torch.equal(mask, mask.roll((-1, -1), (0, 1)).flip(0, 1))


@pytest.mark.parametrize("shape", [(8, 8), (7, 10), (5, 9)])
def test_hartleys_transform_is_orthogonal_and_its_own_inverse(shape: tuple[int, int]) -> None:
    x = draw(1, 1, *shape)
    torch.testing.assert_close(hartley(hartley(x)), x)
    torch.testing.assert_close(hartley(x).norm(), x.norm())


def test_kernels_have_their_widths() -> None:
    line = torch.arange(-8, 9).double()
    gauss = gaussian_kernel(2.0)
    assert gauss.shape == (17, 17)
    assert float(gauss.sum()) == pytest.approx(1)
    assert float((gauss.sum(0) * line**2).sum()) == pytest.approx(4.0, rel=0.01)
    across = motion_kernel(6.0, 0.0)
    n = across.shape[0] // 2
    x = torch.arange(-n, n + 1).double()
    assert float(across[n].sum()) == pytest.approx(1)
    # a uniform motion has the variance L^2 / 12, the interpolation adds up to 1/4
    variance = float((across.sum(0) * x**2).sum())
    assert 3.0 <= variance <= 3.25
    torch.testing.assert_close(motion_kernel(6.0, math.pi / 2), across.T, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (torch.ones(2, 3), "odd sides"),
        (torch.ones(9, 9), "at most 8x8"),
        (torch.zeros(3, 3), "not all zero"),
        (torch.full((3, 3), float("nan")), "finite"),
    ],
)
def test_invalid_kernels_are_refused(kernel: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Blur(kernel, 8, 8)


def test_a_threshold_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match="`threshold` is 1"):
        Blur(torch.ones(3, 3), 8, 8, threshold=1.0)
