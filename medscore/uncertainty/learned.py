"""What the covariance matrices that a network predicts have in common."""

from __future__ import annotations

from typing import TypeAlias

from medscore.uncertainty.blocks import BlockCovariance
from medscore.uncertainty.low_rank import DiagonalLowRank

LearnedCovariance: TypeAlias = DiagonalLowRank | BlockCovariance
"""Both have ``marginal``, the variance of each value; ``product`` with images; ``power``, the mean
power spectrum relative to the mean variance; and ``scaled``."""
