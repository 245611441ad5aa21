"""Predictor-corrector sampling: predict to s, then correct at s (Song 2022, Alg. B.3 to B.5).

Alg. B.3 is the general form; Alg. B.4 and B.5 are its instances for the VE and the VP SDE.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from torch import Tensor

from medscore.parameters import Count, Positive
from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.samplers.langevin import LangevinCorrector
from medscore.samplers.reverse_diffusion import ReverseDiffusion
from medscore.sdes.base import SDE
from medscore.types import State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class PredictorCorrector(Sampler):
    """One predictor step, followed by corrector steps at the new noise level (Alg. B.3).

    Args:
        predictor: sampler that goes from t to s.
        corrector: sampler whose steps start and end at s.
        corrections: number of corrector steps after each predictor step.
    """

    predictor: Sampler
    corrector: Sampler
    corrections: Count = 1

    def prepared(self, sde: SDE, times: Tensor) -> Sampler:
        return PredictorCorrector(
            self.predictor.prepared(sde, times),
            self.corrector.prepared(sde, times),
            self.corrections,
        )

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


def pc(snr: Positive = 0.16, corrections: Count = 1) -> PredictorCorrector:
    """Predictor-corrector sampling by reverse diffusion and Langevin steps (Song 2022, Alg. B.4).

    Args:
        snr: signal-to-noise ratio r of the corrector (Alg. B.6 and B.7).
        corrections: number of corrector steps after each predictor step.
    """
    return PredictorCorrector(ReverseDiffusion(), LangevinCorrector(snr), corrections)


def _part(memory: Memory, name: str) -> Memory:
    return {k[len(name) + 1 :]: v for k, v in memory.items() if k.startswith(f"{name}.")}


def _join(predictor: Memory, corrector: Memory) -> Memory:
    return {f"predictor.{k}": v for k, v in predictor.items()} | {
        f"corrector.{k}": v for k, v in corrector.items()
    }
