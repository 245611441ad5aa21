"""Diagonal plus low rank: the same numbers as the matrix."""

import pytest
import torch
from support import Unit
from torch import Tensor

from medscore.uncertainty.low_rank import DiagonalLowRank

F64 = torch.float64


def case(rank: int) -> tuple[DiagonalLowRank, Tensor, Tensor]:
    """Covariances of two images of 2 x 3 values, the matrices, and vectors."""
    generator = torch.Generator().manual_seed(rank)
    a = 0.1 + torch.rand(2, 1, 2, 3, generator=generator, dtype=F64)
    b = torch.randn(2, rank, 1, 2, 3, generator=generator, dtype=F64)
    flat = b.flatten(2)
    matrix = torch.diag_embed(a.flatten(1)) + torch.einsum("bkd,bke->bde", flat, flat)
    return DiagonalLowRank(a, b), matrix, torch.randn(2, 1, 2, 3, generator=generator, dtype=F64)


@pytest.mark.parametrize("rank", [0, 1, 4, 8])
def test_products_inverses_and_variances_are_the_matrix_s(rank: int) -> None:
    covariance, matrix, v = case(rank)
    column = v.flatten(1)[..., None]
    torch.testing.assert_close(covariance.product(v).flatten(1), (matrix @ column)[..., 0])
    torch.testing.assert_close(
        covariance.solve(v).flatten(1), torch.linalg.solve(matrix, column)[..., 0]
    )
    torch.testing.assert_close(
        covariance.marginal.flatten(1), matrix.diagonal(dim1=1, dim2=2).contiguous()
    )
    assert covariance.rank == rank


def test_a_scaled_image_has_the_squared_scale_as_covariance() -> None:
    covariance, _, v = case(2)
    gain = torch.tensor([2.0, 0.5], dtype=F64)[:, None, None, None]
    found = covariance.scaled(gain).product(v)
    torch.testing.assert_close(found, gain**2 * covariance.product(v))


def test_the_power_spectrum_is_that_of_white_noise() -> None:
    covariance, *_ = case(2)
    torch.testing.assert_close(
        covariance.power(torch.linspace(0, 0.5, 3, dtype=F64)), torch.ones(2, 3, dtype=F64)
    )


def test_draws_have_the_covariance() -> None:
    """A draw is linear in the white noise: its matrix times its transpose is C."""
    both, matrix, _ = case(2)
    covariance = DiagonalLowRank(both.diagonal[:1], both.factors[:1])
    columns = [covariance.draw(Unit(place)).flatten() for place in range(8)]
    found = torch.stack(columns, 1)
    torch.testing.assert_close(found @ found.T, matrix[0])
