"""Types of the public names of this package, which are imported when first used."""

from .card import Card as Card, Estimate as Estimate, mean_interval as mean_interval
from .convention import (
    CONVENTIONS as CONVENTIONS,
    CT_CONVENTION as CT_CONVENTION,
    Convention as Convention,
    convention_of as convention_of,
)
from .image_quality import (
    Quality as Quality,
    average as average,
    qualities as qualities,
    quality as quality,
)
from .memorisation import nearest as nearest
