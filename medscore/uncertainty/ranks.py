r"""Simulation-based calibration: ranks of the truth among posterior samples (Talts et al. 2018).

If truth and data are drawn from the model, and K samples from the posterior of the data, the rank
of a number of the truth among those of the samples is uniform on 0, ..., K. Samples that vary too
little make the outer ranks frequent, and too wide ones the inner ranks. The numbers that are tested
must be independent: one for each draw of truth and data, not the pixels of one image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

LEAST_EXPECTED = 5.0
"""Fewest expected ranks in a bin; below, the chi-square distribution is a poor approximation."""


@dataclass(frozen=True)
class RankTest:
    """The chi-square test of uniform ranks.

    Attributes:
        counts: number of ranks in each bin.
        statistic: chi-square with one degree of freedom less than there are bins.
        p: probability of a larger statistic if the ranks are uniform.
        level: false-alarm rate at which the test rejects.
    """

    counts: tuple[int, ...]
    statistic: float
    p: float
    level: float

    @property
    def rejected(self) -> bool:
        """Whether the ranks are not uniform."""
        return self.p < self.level


def ranks(
    truth: NDArray[Any], samples: NDArray[Any], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Ranks of true values among their samples, from 0 to K; ties are broken at random.

    Args:
        truth: (n,) true values.
        samples: (n, K) samples of each.
        generator: generator for ties.
    """
    below = (samples < truth[:, None]).sum(axis=1)
    equal = (samples == truth[:, None]).sum(axis=1)
    found: NDArray[np.int64] = below + generator.integers(0, equal + 1)
    return found


def rank_test(
    found: NDArray[np.int64], samples: int, *, level: float = 0.01, bins: int | None = None
) -> RankTest:
    """Test whether ranks are uniform.

    Args:
        found: (n,) independent ranks.
        samples: number of samples K.
        level: false-alarm rate of the test.
        bins: number of bins, a divisor of K + 1; by default the most with five expected ranks in
            each.

    Raises:
        ValueError: a rank is out of range, the bins do not divide K + 1, or there are too few
            ranks.
    """
    if found.size and not 0 <= found.min() <= found.max() <= samples:
        raise ValueError(f"ranks from {found.min()} to {found.max()}, expected 0 to {samples}")
    divisors = [d for d in range(2, samples + 2) if (samples + 1) % d == 0]
    fit = [d for d in divisors if found.size / d >= LEAST_EXPECTED]
    if bins is None and not fit:
        raise ValueError(f"{found.size} ranks are too few for a test of {samples} samples")
    chosen = max(fit) if bins is None else bins
    if chosen not in divisors:
        raise ValueError(f"{chosen} bins do not divide {samples + 1} ranks")
    counts = np.bincount(found * chosen // (samples + 1), minlength=chosen)
    expected = found.size / chosen
    statistic = float(((counts - expected) ** 2 / expected).sum())
    p = float(chdtrc(chosen - 1, statistic))
    return RankTest(tuple(map(int, counts)), statistic, p, level)
