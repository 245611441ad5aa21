"""The image domain of a prior: modality, quantity, value range, matrix size and pixel spacing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError, model_validator

from medscore.errors import MedscoreError
from medscore.io.specs import Strict, nearest

Modality = Literal["CT", "MR", "picture"]
Quantity = Literal["HU", "mu", "magnitude", "complex", "grey", "colour"]


class ImageDomain(Strict):
    """The images of a prior, and the affine map of their values to the network's range.

    The map is x = (value - low) / (high - low), so ``low`` and ``high`` become 0 and 1.

    Attributes:
        name: name of the prior in messages and provenance.
        modality: CT, MR or picture.
        quantity: quantity of the pixel values: HU, mu, magnitude, complex, grey or colour.
        low: value that is mapped to 0.
        high: value that is mapped to 1.
        size: rows and columns of the square images; None for any.
        spacing_mm: smallest and largest pixel spacing in mm; None for any.

    Raises:
        MedscoreError: a field is unknown, missing or invalid.
    """

    name: str = "custom prior"
    modality: Modality
    quantity: Quantity
    low: float
    high: float
    size: int | None = Field(default=None, gt=0)
    spacing_mm: tuple[float, float] | None = None

    if not TYPE_CHECKING:  # type checkers know the fields

        def __init__(self, **fields: Any) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as error:
                raise _refusal(type(self), error) from None

        __init__.__pydantic_base_init__ = True  # files are validated without it, see io.specs

    @model_validator(mode="after")
    def _ordered(self) -> ImageDomain:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if self.spacing_mm is not None and not 0 < self.spacing_mm[0] <= self.spacing_mm[1]:
            raise ValueError(f"spacing_mm {self.spacing_mm} must be positive and increasing")
        return self

    @property
    def complex_data(self) -> Literal["phase-estimate", "two-channel"] | None:
        """The rule by which complex measurements are used with the prior's real-valued images.

        See :mod:`medscore.reconstruction.complex_data`; None if there is no rule.
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
        """The width of the value range, high - low."""
        return self.high - self.low

    @property
    def spatial_dims(self) -> int:
        """The number of spatial dimensions: 2 for slices, 3 for volumes."""
        return 2


def _refusal(kind: type[ImageDomain], error: ValidationError) -> MedscoreError:
    """The faults of a specification that is made in Python, in one line."""
    told = [_told(kind, fault) for fault in error.errors()]
    if len(told) == 1:
        return MedscoreError(told[0][0], hint=told[0][1])
    return MedscoreError("; ".join(f"{what} ({hint})" for what, hint in told), hint="correct them")


def _told(kind: type[ImageDomain], fault: Any) -> tuple[str, str]:
    """A fault and what can be done about it."""
    known, what = ", ".join(kind.model_fields), fault["msg"].removeprefix("Value error, ")
    if not fault["loc"]:
        return re.sub(r"\b(low|high|spacing_mm|size)\b", r"`\1`", what), "correct the values"
    name = ".".join(map(str, fault["loc"]))
    if fault["type"] == "missing":
        return f"{kind.__name__} needs `{name}`", f"add {name}=..."
    if fault["type"] == "extra_forbidden":
        near = nearest(name, kind.model_fields)
        return f"{kind.__name__} has no field `{name}`", f"use {near or known}"
    return f"`{name}` is {fault['input']!r:.80}", what[:1].lower() + what[1:]
