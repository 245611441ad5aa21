"""Predictor-corrector sampling (Song et al. 2022, Alg. B.3): predict to s, then correct at s."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.types import State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class PredictorCorrector(Sampler):
    """One predictor step and ``corrections`` corrector steps."""

    predictor: Sampler
    corrector: Sampler
    corrections: int = 1

    def init(self, x: State) -> Memory:
        return _join(self.predictor.init(x), self.corrector.init(x))

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        predicted, corrected = _part(memory, "predictor"), _part(memory, "corrector")
        x, predicted = self.predictor.step(prior, x, t, s, noise, predicted)
        for _ in range(self.corrections):
            x, corrected = self.corrector.step(prior, x, s, s, noise, corrected)
        return x, _join(predicted, corrected)

    def map(self, wrap: Callable[[Sampler], Sampler]) -> Sampler:
        return PredictorCorrector(
            self.predictor.map(wrap), self.corrector.map(wrap), self.corrections
        )


def _part(memory: Memory, name: str) -> Memory:
    return {k[len(name) + 1 :]: v for k, v in memory.items() if k.startswith(f"{name}.")}


def _join(predictor: Memory, corrector: Memory) -> Memory:
    return {f"predictor.{k}": v for k, v in predictor.items()} | {
        f"corrector.{k}": v for k, v in corrector.items()
    }
