"""The objectives of a training recipe: their parameters, and the losses that they build."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from medscore.io.specs import Strict
from medscore.objectives import denoising
from medscore.objectives.dequantised import Dequantised
from medscore.objectives.grey_levels import Levels
from medscore.objectives.high_order import HighOrder
from medscore.objectives.second_order import SecondOrder
from medscore.training.loop import Objective


class EDMObjective(Strict):
    """EDM's loss (Karras et al. 2022, Table 1), with normally distributed log(sigma/alpha).

    Attributes:
        kind: ``edm``.
        log_ratio_mean: mean of log(sigma/alpha) over the training times.
        log_ratio_std: standard deviation of log(sigma/alpha).
    """

    kind: Literal["edm"] = "edm"
    log_ratio_mean: float = -1.5
    log_ratio_std: float = Field(default=1.4, gt=0)

    def build(self, data_std: float) -> Objective:
        """The objective.

        Args:
            data_std: standard deviation of the data in the network's range.
        """
        return denoising.edm(data_std, self.log_ratio_mean, self.log_ratio_std)


class ScoreMatching(Strict):
    """Denoising score matching, Eq. 7.7, with the weighting of Table 9.1 and uniform times.

    Attributes:
        kind: ``score_matching``.
    """

    kind: Literal["score_matching"]

    def build(self, data_std: float) -> Objective:
        """The objective.

        Args:
            data_std: not used.
        """
        return denoising.denoising_score_matching()


class Likelihood(Strict):
    """Eq. 7.7 with the likelihood weighting g^2.

    Attributes:
        kind: ``likelihood``.
        importance_sampling: draw the times by Eq. 9.12, which reduces the variance, instead of
            uniformly.
    """

    kind: Literal["likelihood"]
    importance_sampling: bool = True

    def build(self, data_std: float) -> Objective:
        """The objective.

        Args:
            data_std: not used.
        """
        if self.importance_sampling:
            return denoising.likelihood_importance()
        return denoising.likelihood()


class HighOrderObjective(Strict):
    """The likelihood objective plus the second and third order of Lu et al. 2022.

    Attributes:
        kind: ``high_order``.
        second: weight of the second order.
        third: weight of the third order.
        probes: random directions for each sample.
    """

    kind: Literal["high_order"]
    second: float = Field(default=1.0, ge=0)
    third: float = Field(default=0.1, ge=0)
    probes: int = Field(default=1, gt=0, le=10_000)

    def build(self, data_std: float) -> Objective:
        """The objective.

        Args:
            data_std: not used.
        """
        first = denoising.likelihood_importance()
        return HighOrder(first, self.second, self.third, self.probes)


class Discrete(Strict):
    """The objective of SMLD (Eq. 7.1) or DDPM (Eq. 7.3) over N noise scales.

    Attributes:
        kind: ``smld`` or ``ddpm``.
        scales: number of noise scales N.
    """

    kind: Literal["smld", "ddpm"]
    scales: int = Field(default=1000, gt=1, le=100_000)

    def build(self, data_std: float) -> Objective:
        """The objective.

        Args:
            data_std: not used.
        """
        return (denoising.smld if self.kind == "smld" else denoising.ddpm)(self.scales)


class SecondOrderObjective(Strict):
    """Denoising second-order score matching of Song 2022, Theorem 4.1, for a learned covariance.

    Attributes:
        kind: ``second_order``.
        form: ``low_rank`` for a diagonal plus ``rank`` vectors, compared with the whole matrix
            (Eq. 4.11), ``diagonal`` for the diagonal alone (Eq. 4.17), or ``blocks`` for a matrix
            that is diagonal in the cosine transforms of overlapping blocks.
        rank: number of vectors b_k; by default 4 with ``low_rank``.
        residual: ``error``, the outer product of the error of the predicted noise, or ``noise``,
            z z^T minus that of the predicted noise, as in Eq. 4.11.
        weighting: ``prediction`` divides by the squared prediction, ``level`` by the square of a
            factor that depends on the noise level alone.
        gamma: weight of the first-order term of Theorem 4.1; 0 where the body is not trained.
        antithetic: use each noise with both signs, and the control variate at the clean image;
            three evaluations. It needs ``residual: noise``.
        log_ratio_mean: mean of log(sigma/alpha) over the training times.
        log_ratio_std: standard deviation of log(sigma/alpha).
    """

    kind: Literal["second_order"]
    form: Literal["diagonal", "low_rank", "blocks"] = "diagonal"
    rank: int | None = Field(default=None, ge=1, le=64)
    residual: Literal["error", "noise"] = "error"
    weighting: Literal["prediction", "level"] = "prediction"
    gamma: float = Field(default=0.0, ge=0)
    antithetic: bool = False
    log_ratio_mean: float = -1.5
    log_ratio_std: float = Field(default=1.8, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> SecondOrderObjective:
        if self.form != "low_rank" and self.rank is not None:
            raise ValueError("rank applies to form low_rank")
        self.build(1.0)
        return self

    @property
    def factors(self) -> int:
        """Number of vectors b_k, 0 unless the form is ``low_rank``."""
        return 0 if self.form != "low_rank" else 4 if self.rank is None else self.rank

    def build(self, data_std: float) -> SecondOrder:
        """The objective.

        Args:
            data_std: standard deviation of the data in the network's range.
        """
        return SecondOrder(
            data_std, self.form, self.residual, self.weighting, self.gamma, self.antithetic,
            denoising.LogNormalTimes(self.log_ratio_mean, self.log_ratio_std),
        )  # fmt: skip


ObjectiveSpec = Annotated[
    EDMObjective | ScoreMatching | Likelihood | HighOrderObjective | Discrete,
    Field(discriminator="kind"),
]


def with_levels(objective: Objective, bits: int | None) -> Objective:
    """The objective on images that are quantised to 2^bits grey levels and dequantised.

    Args:
        objective: the loss of a prior.
        bits: None leaves the images as they are.
    """
    return objective if bits is None else Dequantised(objective, Levels(bits))
