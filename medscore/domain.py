"""What images a prior models: modality, quantity, value range, matrix size and pixel spacing."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from medscore.io.specs import Strict

Modality = Literal["CT", "MR", "picture"]
Quantity = Literal["HU", "mu", "magnitude", "complex", "grey", "colour"]


class ImageDomain(Strict):
    """The images of a prior, and the affine map from their values to the network's range.

    The map is x = (value - low) / (high - low), so ``low`` and ``high`` become 0 and 1.

    Attributes:
        name: used in messages and provenance.
        modality: CT, MR or picture.
        quantity: what pixel values are: HU, magnitude, complex, grey, ...
        low: value that becomes 0 in the network's range.
        high: value that becomes 1 in the network's range.
        size: rows and columns of the square images; None for any.
        spacing_mm: smallest and largest pixel spacing in mm; None for any.
    """

    name: str = "custom prior"
    modality: Modality
    quantity: Quantity
    low: float
    high: float
    size: int | None = Field(default=None, gt=0)
    spacing_mm: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> ImageDomain:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if self.spacing_mm is not None and not 0 < self.spacing_mm[0] <= self.spacing_mm[1]:
            raise ValueError(f"spacing_mm {self.spacing_mm} must be positive and increasing")
        return self

    @property
    def complex_data(self) -> Literal["phase-estimate", "two-channel"] | None:
        """How complex measurements are made to fit the prior's real-valued images.

        See :mod:`medscore.reconstruction.complex_data`; None if they cannot be.
        """
        if self.quantity == "magnitude":
            return "phase-estimate"
        return "two-channel" if self.quantity == "complex" else None

    @property
    def channels(self) -> int:
        """Number of channels: two for complex images, three for colour, else one."""
        return {"complex": 2, "colour": 3}.get(self.quantity, 1)

    @property
    def scale(self) -> float:
        """Width of the value range that becomes 1 in the network's range."""
        return self.high - self.low

    @property
    def spatial_dims(self) -> int:
        """2 for slices, 3 for volumes."""
        return 2
