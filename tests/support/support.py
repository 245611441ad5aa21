"""Helpers of several tests."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medscore.operators.base import Operator
from medscore.white_noise import Noise


class SharedNoise(Noise):
    """White noise from one generator for the whole batch, which is faster."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator, dtype=like.dtype)


class FixedNoise(Noise):
    """Returns given draws instead of random ones."""

    def __init__(self, draw: Tensor) -> None:
        self.draw = draw

    def __call__(self, like: Tensor) -> Tensor:
        return self.draw


class Square(Operator):
    """A well-conditioned random T on 3x3 images, with five of nine entries measured."""

    surjective = True

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        mask = torch.zeros(9)
        mask[torch.randperm(9, generator=generator)[:5]] = 1
        super().__init__(mask, image_shape=(3, 3), grid_shape=(9,))
        noise = torch.randn(9, 9, generator=generator, dtype=torch.float64)
        self.matrix = torch.eye(9, dtype=torch.float64) + 0.3 * noise

    def settings(self) -> dict[str, Any]:
        raise NotImplementedError("for tests only: it cannot be stored")

    def T(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.matrix.to(x).T

    def T_adjoint(self, z: Tensor) -> Tensor:
        return (z @ self.matrix.to(z)).reshape(-1, 1, 3, 3)

    def T_inv(self, z: Tensor) -> Tensor:
        return torch.linalg.solve(self.matrix.to(z), z.T).T.reshape(-1, 1, 3, 3)


class Draws(Noise):
    """A noise source that returns given draws in order."""

    def __init__(self, draws: list[Tensor]) -> None:
        self.draws, self.taken = draws, 0

    def __call__(self, like: Tensor) -> Tensor:
        draw = self.draws[self.taken]
        self.taken += 1
        return draw.reshape(like.shape).to(like.dtype)


class Means(torch.nn.Module):
    """The interface of the usual Inception file, which returns probabilities or features."""

    def forward(self, x: Tensor, return_features: bool = False) -> Tensor:
        found = x.float().flatten(2)
        if return_features:
            return torch.cat([found.mean(2), found.std(2)], 1)
        return found.mean(2)


def network_of_features(file: Path) -> None:
    """Write :class:`Means` as TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Means()).save(str(file))


class Unit:
    """Takes the place of white noise: of all values of consecutive draws, one is 1, the others 0.

    Args:
        place: number of that value.
    """

    def __init__(self, place: int) -> None:
        self.place = place

    def __call__(self, like: Tensor) -> Tensor:
        found = torch.zeros_like(like).flatten()
        if 0 <= self.place < len(found):
            found[self.place] = 1
        self.place -= len(found)
        return found.reshape(like.shape)
