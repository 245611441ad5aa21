"""Operators of deepinv. It needs torchvision, which must be absent here: a class with the methods
of its ``LinearPhysics`` represents it.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.operators.adapters import from_deepinv
from medscore.operators.noise import GaussianNoise


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class LinearPhysics(torch.nn.Module):
    """The interface of ``deepinv.physics.LinearPhysics``: calling it adds noise, ``A`` does not."""

    def __init__(
        self,
        A: Callable[..., Tensor] = lambda x, **kwargs: x,
        A_adjoint: Callable[..., Tensor] = lambda y, **kwargs: y,
        noise_model: Callable[..., Tensor] = lambda y, **kwargs: y,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.forw, self.A_adj, self.noise_model = A, A_adjoint, noise_model

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        return self.noise_model(self.A(x, **kwargs), **kwargs)

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        return self.forw(x, **kwargs)

    def A_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:
        return self.A_adj(y, **kwargs)


class Downsampling(LinearPhysics):
    """A subclass that overrides the two methods, with a parameter as buffer."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.register_buffer("filter", torch.tensor([[0.5]]))

    def A(self, x: Tensor, filter: Tensor | None = None, **kwargs: Any) -> Tensor:
        weight = self.filter if filter is None else filter
        assert isinstance(weight, Tensor)
        return weight.to(x) * x[..., :: self.factor, :: self.factor]

    def A_adjoint(self, y: Tensor, filter: Tensor | None = None, **kwargs: Any) -> Tensor:
        weight = self.filter if filter is None else filter
        assert isinstance(weight, Tensor)
        x = y.new_zeros(*y.shape[:-2], *(self.factor * n for n in y.shape[-2:]))
        x[..., :: self.factor, :: self.factor] = weight.to(y) * y
        return x


def test_a_physics_becomes_an_operator_without_its_noise() -> None:
    physics = Downsampling(2)
    physics.noise_model = lambda y, **kwargs: y + 1
    a = from_deepinv(physics, (3, 8, 6), noise=GaussianNoise(0.1))
    assert (a.image_shape, a.grid_shape) == ((3, 8, 6), (3, 4, 3))
    x = draw(2, 3, 8, 6)
    torch.testing.assert_close(a(x), physics.A(x))
    torch.testing.assert_close(a.adjoint(a(x)), physics.A_adjoint(physics.A(x)))
    torch.testing.assert_close(a.pinv(a(x)).x, 4 * a.adjoint(a(x)))
    assert a.noise_model == GaussianNoise(0.1)


def test_gradients_flow_through_a_physics() -> None:
    a = from_deepinv(Downsampling(2), (1, 4, 4))
    x = draw(1, 1, 4, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(a.forward, x)


def test_physics_made_of_functions_are_adapted_too() -> None:
    physics = LinearPhysics(
        A=lambda x, **kwargs: x.roll((1, 1), (2, 3)),
        A_adjoint=lambda y, **kwargs: y.roll((-1, -1), (2, 3)),
        img_size=(1, 5, 5),
    )
    a, x = from_deepinv(physics, (1, 5, 5)), draw(4, 1, 5, 5)
    torch.testing.assert_close(a.adjoint(a(x)), x)


def test_a_physics_that_does_not_fit_is_refused(unchecked: None) -> None:
    with pytest.raises(ValueError, match="is not the adjoint"):
        from_deepinv(LinearPhysics(A=lambda x: 2 * x), (1, 4, 4))
    with pytest.raises(ValueError, match="a Linear without A or A_adjoint - give a deepinv"):
        from_deepinv(torch.nn.Linear(2, 2), (1, 4, 4))  # type: ignore[arg-type]
    with pytest.raises(MedscoreError, match="`physics` is a int without A"):
        from_deepinv(3, (1, 4, 4))  # type: ignore[arg-type]
    stacked = LinearPhysics(A=lambda x: [x, x], A_adjoint=lambda y: y[0] + y[1])  # type: ignore
    with pytest.raises(ValueError, match="`forward` returns a list, expected a tensor"):
        from_deepinv(stacked, (1, 4, 4))
