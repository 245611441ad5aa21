r"""Bounds on the share of pixels outside their intervals, for a patient who was not calibrated on.

The loss of a patient is the share L of the pixels that lie outside. It is between 0 and 1 and falls
as the intervals are widened. The patients of the calibration and the new one are exchangeable; the
pixels and slices of a patient need not be. Of n patients,

- *expected*: the intervals are the narrowest with
  :math:`(\sum_i L_i + 1) / (n + 1) \le \alpha`; then :math:`E[L_{n+1}] \le \alpha` (Angelopoulos et
  al. 2024, "Conformal Risk Control", Eq. 4, with B = 1);
- *confident*: with probability ``confidence`` over the calibration patients, the expected loss of a
  new one is at most :math:`\alpha` (Bates et al. 2021, "Distribution-free, risk-controlling
  prediction sets", Theorem 1), by the bound of Waudby-Smith and Ramdas, their Proposition 5;
- *patient*: with probability ``confidence`` over all patients, the loss of a new one is at most
  :math:`\alpha`: the k-th smallest width that a patient needs, with :math:`k = \lceil (n + 1)\,
  confidence \rceil` (Vovk et al. 2005, Prop. 2.2);
- *measured*: the mean loss of the calibration patients is at most :math:`\alpha`, which bounds the
  expected loss of a new one by :math:`(n \alpha + 1) / (n + 1)` (conformal risk control again).

With ten patients and :math:`\alpha` = 0.1 the second is out of reach, and the first needs a mean
loss of 1 % on the calibration patients, which makes the intervals too wide for most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Rule = Literal["measured", "patient", "expected", "confident"]
RULES: tuple[str, ...] = get_args(Rule)
"""What the widths of intervals are chosen for; see the module."""

SLACK = 1e-12
"""Rounding of shares."""

MOST_PATIENTS = 100_000
"""Number of patients up to which it is said how many a rule needs."""


def expected_bound(losses: Sequence[float]) -> float:
    """The bound of conformal risk control on the expected loss of a new patient.

    Args:
        losses: loss of each patient.
    """
    return (sum(losses) + 1) / (len(losses) + 1)


def confident_bound(losses: Sequence[float], confidence: float) -> float:
    r"""The bound of Waudby-Smith and Ramdas on the expected loss (Bates et al. 2021, Prop. 5).

    .. math:: \hat R^+ = \inf \{R : \max_i \prod_{j \le i} (1 - \nu_j (L_j - R)) > 1 / \delta\}

    with :math:`\nu_j = \min(1, \sqrt{2 \log(1/\delta) / (n \hat\sigma_{j-1}^2)})` and running means
    and variances that start at 1/2 and 1/4. It depends on the order of the patients.

    Args:
        losses: loss of each patient.
        confidence: 1 - delta, the probability with which the bound holds.
    """
    values, delta = np.asarray(losses, dtype=np.float64), 1 - confidence
    n = len(values)
    count = 2 + np.arange(n)
    means = (0.5 + np.cumsum(values)) / count
    variances = (0.25 + np.cumsum((values - means) ** 2)) / count
    before = np.concatenate([[0.25], variances[:-1]])
    bets = np.minimum(1.0, np.sqrt(2 * math.log(1 / delta) / (n * before)))

    def capital(risk: float) -> float:
        return float(np.cumprod(1 - bets * (values - risk)).max())

    if capital(1.0) <= 1 / delta:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if capital(middle) > 1 / delta else (middle, high)
    return high


def rank_needed(patients: int, confidence: float) -> int:
    """k of the k-th smallest of n values that a further one exceeds with at most 1 - confidence.

    Args:
        patients: n; more than n if the confidence is out of reach.
        confidence: the probability.
    """
    return math.ceil((patients + 1) * confidence - 1e-9)


def bound_of(rule: str, losses: Sequence[float], confidence: float) -> float:
    """What a rule requires to be at most alpha.

    Args:
        rule: one of ``RULES``.
        losses: loss of each patient.
        confidence: probability of the bound, where the rule has one.
    """
    if rule == "measured":
        return float(np.mean(losses))
    if rule == "expected":
        return expected_bound(losses)
    if rule == "confident":
        return confident_bound(losses, confidence)
    rank = rank_needed(len(losses), confidence)
    return 1.0 if rank > len(losses) else float(np.sort(losses)[rank - 1])


def patients_needed(rule: str, alpha: float, confidence: float) -> int:
    """The fewest patients for which a rule is within reach, those without any loss.

    Args:
        rule: one of ``RULES``.
        alpha: share of pixels that may be outside.
        confidence: probability of the bound, where the rule has one.

    Raises:
        ValueError: it takes more than ``MOST_PATIENTS``.
    """
    low, high = 0, 1
    while bound_of(rule, [0.0] * high, confidence) > alpha + SLACK:
        low, high = high, 2 * high
        if low > MOST_PATIENTS:
            raise ValueError(f"the rule needs more than {MOST_PATIENTS} patients")
    while high - low > 1:
        middle = (low + high) // 2
        reached = bound_of(rule, [0.0] * middle, confidence) <= alpha + SLACK
        low, high = (low, middle) if reached else (middle, high)
    return high


def smallest_multiple(
    rule: str,
    levels: NDArray[np.float64],
    quantiles: NDArray[np.float64],
    alpha: float,
    confidence: float,
) -> float:
    """The smallest multiple of the predictive deviation that satisfies a rule; infinite if none.

    The loss of a patient at a multiple is rounded up to the next of the levels, so that a bound on
    it is one on the loss.

    Args:
        rule: one of ``RULES``.
        levels: (m,) increasing levels between 0 and 1.
        quantiles: (patients, m) quantiles of each patient's :func:`~.intervals.ratios` at them.
        alpha: share of pixels that may be outside.
        confidence: probability of the bound, where the rule has one.
    """
    candidates = np.unique(quantiles[np.isfinite(quantiles)])

    def satisfied(index: int) -> bool:
        losses = losses_at(float(candidates[index]), levels, quantiles)
        return bound_of(rule, losses, confidence) <= alpha + SLACK

    low, high = -1, len(candidates) - 1
    if high < 0 or not satisfied(high):
        return math.inf
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if satisfied(middle) else (middle, high)
    return float(candidates[high])


def losses_at(
    multiple: float, levels: NDArray[np.float64], quantiles: NDArray[np.float64]
) -> list[float]:
    """The loss of each patient at a multiple, rounded up to the next of the levels.

    Args:
        multiple: multiple of the predictive deviation.
        levels: (m,) increasing levels between 0 and 1.
        quantiles: (patients, m) quantiles of each patient's ratios at them.
    """
    inside = np.array([0.0, *levels])
    counts = (quantiles <= multiple).sum(axis=1)
    return [float(1 - inside[count]) for count in counts]
