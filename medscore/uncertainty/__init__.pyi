"""Types of the public names of this package, which are imported when first used."""

from .low_rank import DiagonalLowRank as DiagonalLowRank
