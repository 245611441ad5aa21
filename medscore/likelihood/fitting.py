"""Fitting the tests of contrast and residuals to the training images of a prior.

The equations are those of :mod:`medscore.likelihood.unusual`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from medscore.likelihood.altered import altered
from medscore.likelihood.features import residual_features
from medscore.likelihood.unusual import CLIP, Floats, ImageTest, features_of, score_of
from medscore.priors.base import Prior
from medscore.types import Images

LEVEL = 0.05
"""Probability of a false alarm of all tests together."""

FOLDS = 5
"""Parts of the patients of which each is judged by a test that was fitted to the others."""

LEAST_PATIENTS = 10
"""Fewest patients of which a test is fitted."""

COPIES, RIDGE, COMPONENTS = 2, 0.01, 16
"""Altered copies of an image, penalty of the logistic regression, and K."""

KINDS: dict[str, tuple[Literal["contrast", "residual"], ...]] = {
    "HU": ("residual",), "magnitude": ("contrast", "residual")
}  # fmt: skip
"""Tests by quantity: HU are fixed by physics, so their contrast is not tested on its own."""


def fit_tests(
    prior: Prior, quantity: str, x: Images, patients: Sequence[str], *, seed: int = 0
) -> tuple[ImageTest, ...]:
    """Fit the tests of a prior to its training images; none to fewer than ten patients.

    Args:
        prior: the prior.
        quantity: its quantity, "HU" or "magnitude"; other images are not tested.
        x: training images (n, 1, H, W) in the prior's range, on the prior's device.
        patients: patient of each image.
        seed: seed of the altered copies and of the folds.
    """
    kinds = KINDS.get(quantity, ())
    if not kinds or len(set(patients)) < LEAST_PATIENTS:
        return ()
    fold, names = _folds(patients, seed), np.asarray(patients)
    tests, residual = [], residual_features(prior, x)
    for kind in kinds:
        usual = features_of(kind, x, residual)
        copies, of_copy = usual[:0], fold[:0]
        if kind == "contrast":
            generator = np.random.default_rng(seed)
            images = x[:, 0].float().cpu().numpy()
            drawn = [altered(image, generator) for _ in range(COPIES) for image in images]
            altered_x = torch.from_numpy(np.stack(drawn))[:, None].to(x.device)
            copies = features_of(kind, altered_x, residual_features(prior, altered_x))
            of_copy = np.tile(fold, COPIES)
        held_out = np.empty(len(x))
        for k in range(FOLDS):
            part = _fitted(kind, usual[fold != k], copies[of_copy != k])
            held_out[fold == k] = score_of(part)(usual[fold == k])
        mean, between, within = variances(held_out, names)
        level = LEVEL / len(kinds)
        test = _fitted(kind, usual, copies).model_copy(
            update={
                "mean": mean, "between": between, "within": within, "level": level,
                "patients": len(set(patients)), "slices": len(x),
            }
        )  # fmt: skip
        slices = [test.z(held_out[[i]]) for i in range(len(x))]
        scans = [test.z(held_out[names == name]) for name in np.unique(names)]
        top = max(float(np.quantile(each, 1 - level)) for each in (slices, scans))
        tests.append(test.model_copy(update={"threshold": top}))
    return tuple(tests)


def variances(scores: Floats, patients: NDArray[Any]) -> tuple[float, float, float]:
    """The mean, and the variances between patients and within a patient.

    Args:
        scores: score of each slice.
        patients: patient of each slice.
    """
    groups = [scores[patients == name] for name in np.unique(patients)]
    mean = float(np.mean(scores))
    within = float(np.mean([g.var(ddof=1) for g in groups if len(g) > 1] or [scores.var()]))
    within = max(within, 1e-12)
    between = float(np.mean([(g.mean() - mean) ** 2 - within / len(g) for g in groups]))
    return mean, max(between, 0.05 * within), within


def _folds(patients: Sequence[str], seed: int) -> NDArray[np.int64]:
    names = sorted(set(patients))
    order = np.random.default_rng(seed).permutation(len(names)) % FOLDS
    of = dict(zip(names, order.tolist(), strict=True))
    return np.array([of[name] for name in patients], dtype=np.int64)


def _fitted(kind: Literal["contrast", "residual"], usual: Floats, copies: Floats) -> ImageTest:
    centre, scale = usual.mean(0), usual.std(0) + 1e-6
    s = (usual - centre) / scale
    if kind == "contrast":
        other = (copies - centre) / scale
        matrix = _logistic(np.clip(s, -CLIP, CLIP), np.clip(other, -CLIP, CLIP))[None]
    else:
        _, singular, rows = np.linalg.svd(s, full_matrices=False)
        k = min(COMPONENTS, len(singular), len(s) - 1)
        matrix = rows[:k] / (singular[:k, None] / (len(s) - 1) ** 0.5 + 1e-6)
    return ImageTest(
        kind=kind, centre=_rounded(centre), scale=_rounded(scale),
        matrix=tuple(_rounded(row) for row in matrix),
        mean=0.0, between=0.0, within=1.0, threshold=0.0, level=LEVEL, patients=2, slices=2,
    )  # fmt: skip


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)


def _logistic(usual: Floats, other: Floats) -> Floats:
    """Weights of a logistic regression with a ridge penalty, by Newton's method."""
    a = np.concatenate([usual, other])
    spread = a.std(0) + 1e-6
    a = np.c_[(a - a.mean(0)) / spread, np.ones(len(a))]
    target = np.r_[np.zeros(len(usual)), np.ones(len(other))]
    share = np.where(target > 0, 0.5 / len(other), 0.5 / len(usual))
    ridge = RIDGE * np.diag([*np.ones(a.shape[1] - 1), 0.0])
    w = np.zeros(a.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(a @ w, -50, 50)))
        gradient = a.T @ (share * (p - target)) + ridge @ w
        hessian = (a.T * (share * p * (1 - p) + 1e-9)) @ a + ridge
        w = w - np.linalg.solve(hessian, gradient)
    return np.asarray(w[:-1] / spread)
