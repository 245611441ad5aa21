"""Linear maps under automatic differentiation and the transforms of :mod:`torch.func`.

A linear map is its own derivative, and its gradient is its adjoint. So a map whose code PyTorch
cannot differentiate (a sparse product, a GPU kernel, NumPy) needs nothing but its adjoint, and a
map that takes any number of leading axes can be vectorised by one more of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]
"""A linear map on arrays with any number of leading axes."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


def linear_map(x: Tensor, forward: Map, adjoint: Map) -> Tensor:
    """``forward(x)``, differentiable by its adjoint and usable under vmap, jvp, vjp and jacrev.

    Args:
        x: the argument of the map.
        forward: the linear map; it receives plain tensors and may be given further leading axes.
        adjoint: its exact adjoint, under the same conditions.
    """
    return cast(Tensor, cast(Any, _LinearMap).apply(x, forward, adjoint))


def outside(make: Callable[[], Value]) -> Value:
    """``make()``, computed outside of all :mod:`torch.func` transforms and of inference mode.

    A tensor made within a transform must not outlive it in a cache, and one made in inference mode
    cannot be used for gradients afterwards.

    Args:
        make: makes what a cache is to hold, from plain tensors.
    """
    found: list[Value] = []
    cast(Any, _Outside).apply(torch.empty(0), lambda: found.append(make()))
    return found[0]


def remember(cache: dict[Key, Value], key: Key, make: Callable[[], Value]) -> Value:
    """``cache[key]``, from ``make`` the first time (:func:`outside` of transforms).

    Args:
        cache: where the value is kept.
        key: its key there.
        make: computes the value.
    """
    if key not in cache:
        cache[key] = outside(make)
    return cache[key]


class _LinearMap(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, forward: Map, adjoint: Map) -> Tensor:
        return forward(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.map, ctx.adjoint = inputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return linear_map(gradients[0], ctx.adjoint, ctx.map), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return linear_map(tangents[0], ctx.map, ctx.adjoint)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], x: Tensor, forward: Map, adjoint: Map
    ) -> tuple[Tensor, int]:
        assert in_dims[0] is not None
        return linear_map(x.movedim(in_dims[0], 0), forward, adjoint), 0


class _Outside(torch.autograd.Function):
    """Calls a function below all transforms, where tensors are plain; returns nothing of it."""

    @staticmethod
    def forward(nothing: Tensor, call: Callable[[], object]) -> Tensor:
        with torch.inference_mode(False):
            call()
        return nothing.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """No derivative is ever taken."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[None, None], nothing: Tensor, call: Callable[[], object]
    ) -> tuple[Tensor, None]:
        return cast(Any, _Outside).apply(nothing, call), None
