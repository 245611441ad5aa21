r"""Tests of whether images have the contrast and anatomy of a prior's training images.

A reconstruction with the wrong prior looks typical of it, and its likelihood is normal. Two further
tests look at statistics f of the image (:mod:`~medscore.likelihood.features`), standardised to s:

.. math:: c(x) = w \cdot s, \qquad r(x) = \log \left( \lVert W s \rVert^2 / K \right).

The weights w of the contrast test are those of a logistic regression, in the contrast and the
residual statistics, between training images and copies with another contrast
(:mod:`~medscore.likelihood.altered`). W of the residual test whitens the K largest principal
components of the residual statistics of the training images. Both scores vary between patients and
between the slices of a patient, with variances b and v. The n slices of a scan, of mean score a,
are judged by

.. math:: z = (a - \mu) / \sqrt{b + v / n}.

The threshold is the quantile of z of training patients that took no part in the fit (five-fold
cross-validation), of single slices or of patients, whichever is higher. The tests of a prior share
a false-alarm rate of 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

from medscore.domain import ImageDomain
from medscore.errors import MedscoreError
from medscore.io.specs import Strict
from medscore.likelihood.features import contrast_features, residual_features
from medscore.priors.base import Prior
from medscore.types import Images

CLIP = 5.0
"""Largest |s| of the contrast test."""

Floats = NDArray[np.float64]


class ImageTest(Strict):
    """One fitted test.

    Attributes:
        kind: "contrast" or "residual".
        centre: means of the statistics.
        scale: standard deviations of the statistics.
        matrix: w as its only row, or W.
        mean: mu, the mean score of training images that took no part in the fit.
        between: variance of the score between patients.
        within: variance of the score between slices of a patient.
        threshold: z above which images are unusual.
        level: probability of a false alarm of this test.
        patients: number of training patients.
        slices: number of training slices.
    """

    kind: Literal["contrast", "residual"]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...] = Field(min_length=1)
    mean: float
    between: float = Field(ge=0)
    within: float = Field(gt=0)
    threshold: float
    level: float = Field(gt=0, lt=1)
    patients: int = Field(ge=2)
    slices: int = Field(ge=2)

    @model_validator(mode="after")
    def _of_one_width(self) -> ImageTest:
        widths = {len(self.centre), len(self.scale), *(len(row) for row in self.matrix)}
        if len(widths) > 1 or not min(self.scale, default=0) > 0:
            raise ValueError("centre, scale and matrix do not fit each other")
        return self

    def z(self, scores: Floats) -> float:
        """z of a scan.

        Args:
            scores: scores of its slices.
        """
        deviation = math.sqrt(self.between + self.within / len(scores))
        return (float(scores.mean()) - self.mean) / deviation


@dataclass(frozen=True)
class Judgement:
    """What a test says about the slices of one scan.

    Attributes:
        test: the test.
        z: z of the scan.
        slices: z of each slice on its own.
    """

    test: ImageTest
    z: float
    slices: tuple[float, ...]

    @property
    def unusual(self) -> bool:
        """Whether the scan is unusual."""
        return self.z > self.test.threshold

    def record(self) -> dict[str, object]:
        """The judgement for JSON."""
        return {
            "test": self.test.kind, "z": round(self.z, 2),
            "threshold": round(self.test.threshold, 2),
            "false_alarm_rate": self.test.level, "unusual": self.unusual,
            "slices": [round(value, 2) for value in self.slices],
        }  # fmt: skip


def judge(
    tests: Sequence[ImageTest], prior: Prior, domain: ImageDomain, x: Images
) -> tuple[Judgement, ...]:
    """Judge the slices of one scan; there is no judgement of images of another size.

    Args:
        tests: tests of the prior.
        prior: the prior.
        domain: its image domain.
        x: slices (n, 1, H, W) in the prior's range, on the prior's device.

    Raises:
        MedscoreError: a test is of other statistics than this version computes.
    """
    if domain.size is not None and x.shape[-1] != domain.size:
        if x.shape[-1] % domain.size or x.shape[-2] != x.shape[-1]:
            return ()
        x = torch.nn.functional.avg_pool2d(x, x.shape[-1] // domain.size)
    if not tests:
        return ()
    found, residual = [], residual_features(prior, x)
    for test in tests:
        features = features_of(test.kind, x, residual)
        if features.shape[1] != len(test.centre):
            raise MedscoreError(
                f"the {test.kind} test beside the prior has {len(test.centre)} statistics, not "
                f"{features.shape[1]}",
                hint="write it again with `medscore likelihood` and `typical`",
            )
        scores = score_of(test)(features)
        single = tuple(test.z(scores[i : i + 1]) for i in range(len(scores)))
        found.append(Judgement(test, test.z(scores), single))
    return tuple(found)


def words_of(judgements: Sequence[Judgement]) -> list[str]:
    """A warning for each test that calls the scan unusual.

    Args:
        judgements: the judgements.
    """
    what = {
        "contrast": "the contrast is unlike that of the prior's training images",
        "residual": "the images are unlike the prior's training images: other anatomy or artifacts",
    }
    return [
        f"{what[j.test.kind]} (z {j.z:+.1f}, unusual above {j.test.threshold:.1f}, which "
        f"{100 * j.test.level:g} % of usual scans exceed): what the data do not determine looks "
        "as in the training images, and may be wrong"
        for j in judgements
        if j.unusual
    ]


def score_of(test: ImageTest) -> Callable[[Floats], Floats]:
    """The score of statistics (n, features) by a test, (n,).

    Args:
        test: the test.
    """
    matrix = np.asarray(test.matrix)

    def score(features: Floats) -> Floats:
        s = (features - np.asarray(test.centre)) / np.asarray(test.scale)
        if test.kind == "contrast":
            return np.asarray(np.clip(s, -CLIP, CLIP) @ matrix[0])
        return np.asarray(np.log(np.square(s @ matrix.T).mean(1) + 1e-12))

    return score


def features_of(kind: str, x: Images, residual: Floats) -> Floats:
    """Statistics of images for a test, (n, features).

    Args:
        kind: "contrast" or "residual".
        x: images (n, 1, H, W) in the prior's range.
        residual: their residual statistics, which the contrast test uses as well.
    """
    if kind == "residual":
        return residual
    return np.concatenate([contrast_features(x), residual], 1)
