"""Covariances in cosine transforms of blocks are what their dense matrices are."""

import pytest
import torch
from support import Unit
from torch import Tensor

from medscore.uncertainty.blocks import DIRECTIONS, BlockCovariance, transform

SHAPES = [(8, 10), (7, 9), (12, 8)]


def drawn(shape: tuple[int, int], batch: int = 2, channels: int = 2) -> BlockCovariance:
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(batch, channels * 16, *shape, generator=generator, dtype=torch.float64)
    return BlockCovariance.from_maps(maps + 0.1)


def images(shape: tuple[int, int], batch: int = 2, channels: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, channels, *shape, generator=generator, dtype=torch.float64)


def dense(covariance: BlockCovariance, channels: int = 2) -> Tensor:
    """The matrix of the first sample, column by column."""
    h, w = covariance.shape
    eye = torch.eye(channels * h * w, dtype=torch.float64).reshape(-1, channels, h, w)
    one = BlockCovariance(covariance.variances[:1], covariance.shape)
    columns = [one.product(e[None]).flatten() for e in eye]
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_transform_is_a_tight_frame(shape: tuple[int, int]) -> None:
    """|Phi x|^2 = 4 |x|^2, so variances of 1 give the identity."""
    x = images(shape)
    assert torch.allclose(transform(x).square().sum(), 4 * x.square().sum())
    ones = BlockCovariance.from_maps(torch.ones(2, 32, *shape, dtype=torch.float64))
    assert torch.allclose(ones.product(x), x)
    assert torch.allclose(ones.marginal, torch.ones_like(x))


@pytest.mark.parametrize("shape", SHAPES)
def test_matrix_is_symmetric_positive_with_the_marginal_as_diagonal(shape: tuple[int, int]) -> None:
    covariance = drawn(shape)
    matrix = dense(covariance)
    assert torch.allclose(matrix, matrix.T)
    assert torch.linalg.eigvalsh(matrix).min() > 0
    assert torch.allclose(matrix.diag(), covariance.marginal[0].flatten())
    assert matrix.diag().diag().sub(matrix).abs().max() > 1e-3


@pytest.mark.parametrize("shape", SHAPES)
def test_variances_of_the_coefficients_inside(shape: tuple[int, int]) -> None:
    """u_k = phi_k^T C phi_k, by the dense matrix and the rows of Phi."""
    covariance = drawn(shape)
    matrix, (h, w) = dense(covariance), shape
    eye = torch.eye(2 * h * w, dtype=torch.float64).reshape(-1, 2, h, w)
    phi = transform(eye).flatten(1).T
    exact = torch.einsum("kd,de,ke->k", phi, matrix, phi)
    exact = exact.reshape(covariance.variances.shape[1:])
    found = covariance.of_coefficients()[0]
    assert found.shape[-2:] == ((h - 4) // 2 + 1, (w - 4) // 2 + 1)
    assert torch.allclose(found, covariance.inside(exact[None])[0])


def test_scaling_is_that_of_the_image() -> None:
    covariance, gain = drawn((8, 10)), torch.tensor([0.5, 3.0], dtype=torch.float64)
    gain, x = gain.reshape(2, 1, 1, 1), images((8, 10))
    assert torch.allclose(covariance.scaled(gain).product(x), gain**2 * covariance.product(x))


def test_the_least_expected_surprise_is_at_the_variances_of_the_coefficients() -> None:
    """Errors of white noise of two strengths: the loss is least at v = variance, not 10 % off.

    The mean of 100 x 2 x 16 x 81 squares has a relative standard deviation below 0.7 %, so that
    the three values are ordered with a false-alarm rate far below 1e-9.
    """
    generator = torch.Generator().manual_seed(2)
    error = 0.7 * torch.randn(100, 2, 20, 20, generator=generator, dtype=torch.float64)
    losses = []
    for factor in (0.9, 1.0, 1.1):
        maps = torch.full((100, 32, 20, 20), 0.49 * factor, dtype=torch.float64)
        losses.append(float(BlockCovariance.from_maps(maps).surprise(error).mean()))
    assert losses[1] < min(losses[0], losses[2])


def test_surprise_does_not_depend_on_the_batch() -> None:
    covariance, error = drawn((8, 10)), images((8, 10))
    one = BlockCovariance(covariance.variances[1:], covariance.shape)
    assert torch.allclose(covariance.surprise(error)[1:], one.surprise(error[1:]))


def test_the_power_spectrum_is_that_of_the_mean_autocovariance() -> None:
    """Averaged over the positions of the pixels and over directions, relative to the variance.

    Only blocks in the middle have variances, so no block is cut."""
    shape, found = (20, 20), drawn((20, 20), batch=1, channels=1)
    inner = torch.zeros_like(found.variances)
    inner[..., 3:7, 3:7] = found.variances[..., 3:7, 3:7]
    covariance = BlockCovariance(inner, shape)
    matrix = dense(covariance, channels=1).reshape(*shape, *shape)
    rows, columns = torch.meshgrid(torch.arange(20.0), torch.arange(20.0), indexing="ij")
    apart = rows - rows[:, :, None, None], columns - columns[:, :, None, None]
    frequency = torch.tensor([0.0, 0.1, 0.3, 0.5], dtype=torch.float64)
    angles = torch.arange(DIRECTIONS, dtype=torch.float64) * torch.pi / DIRECTIONS
    exact = [
        sum(
            (matrix * torch.cos(2 * torch.pi * f * (a.sin() * apart[0] + a.cos() * apart[1]))).sum()
            for a in angles
        )
        / DIRECTIONS
        / covariance.marginal.sum()
        for f in frequency
    ]
    torch.testing.assert_close(covariance.power(frequency)[0], torch.stack(exact))


def test_the_power_spectrum_of_white_noise_is_one() -> None:
    ones = BlockCovariance.from_maps(torch.ones(2, 16, 8, 8))
    frequency = torch.linspace(0, 0.5, 9)
    torch.testing.assert_close(ones.power(frequency), torch.ones(2, 9))


@pytest.mark.parametrize("shape", SHAPES)
def test_draws_have_the_covariance(shape: tuple[int, int]) -> None:
    """A draw is linear in the white noise: its matrix times its transpose is C."""
    covariance = BlockCovariance(drawn(shape).variances[:1], shape)
    count = covariance.variances.numel()
    columns = [covariance.draw(Unit(place)).flatten() for place in range(count)]
    matrix = torch.stack(columns, 1)
    torch.testing.assert_close(matrix @ matrix.T, dense(covariance))
