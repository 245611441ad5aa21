"""Functions of matrices from products with vectors, against eigendecompositions."""

import pytest
import torch
from torch import Tensor

from medscore.uncertainty.krylov import matrix_function


def symmetric(n: int, d: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(n, d, d, generator=generator, dtype=torch.float64)
    return -root @ root.mT / d - 0.1 * torch.eye(d)


def exact(matrix: Tensor, v: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    inside = torch.einsum("bde,bd->be", vectors, v.flatten(1))
    return torch.einsum("bde,be->bd", vectors, torch.exp(values) * inside).reshape(v.shape)


def product(matrix: Tensor):  # type: ignore[no-untyped-def]
    return lambda v: torch.einsum("bde,be->bd", matrix, v.flatten(1)).reshape(v.shape)


@pytest.mark.parametrize("shape", [(12,), (3, 2, 2)], ids=str)
@pytest.mark.parametrize("order", [12, 50])
def test_it_is_exact_in_the_whole_space(order: int, shape: tuple[int, ...]) -> None:
    matrix, v = symmetric(4, 12), torch.randn(4, *shape).double()
    torch.testing.assert_close(
        matrix_function(product(matrix), v, order)(torch.exp), exact(matrix, v)
    )


def test_it_is_exact_for_as_many_eigenvalues_as_the_order() -> None:
    """A multiple of I plus rank 2 has three eigenvalues; the space is complete after three."""
    b = torch.randn(2, 2, 20, generator=torch.Generator().manual_seed(1)).double()
    matrix = -2 * torch.eye(20).double() - b.mT @ b
    v = torch.randn(2, 20).double()
    for order in (3, 10):
        found = matrix_function(product(matrix), v, order)(torch.exp)
        torch.testing.assert_close(found, exact(matrix, v))


def test_it_approaches_the_result_with_the_order() -> None:
    matrix, v = symmetric(1, 60), torch.randn(1, 60).double()
    errors = [
        float((matrix_function(product(matrix), v, m)(torch.exp) - exact(matrix, v)).norm())
        for m in (2, 5, 10)
    ]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[2] < 1e-6


def test_zero_stays_zero_and_samples_are_independent() -> None:
    matrix, v = symmetric(3, 12), torch.randn(3, 12).double()
    v[1] = 0
    found = matrix_function(product(matrix), v, 6)(torch.exp)
    assert torch.equal(found[1], torch.zeros(12).double())
    alone = matrix_function(product(matrix[2:]), v[2:], 6)(torch.exp)
    torch.testing.assert_close(found[2:], alone)
