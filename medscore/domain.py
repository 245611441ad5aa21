"""The image domain of a prior: modality, quantity, value range, matrix size and pixel spacing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError, model_validator

from medscore.errors import MedscoreError
from medscore.io.specs import Side, Strict, nearest
from medscore.numeric import is_number

Modality = Literal["CT", "MR", "picture"]
Quantity = Literal["HU", "mu", "magnitude", "complex", "grey", "colour"]

ROUNDING = 1e-3
"""Relative difference up to which pixel sizes count as equal."""


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
    size: Side | None = None
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
    def matrix(self) -> str:
        """The matrix sizes of the images, in words."""
        return "any matrix" if self.size is None else f"{self.size} x {self.size}"

    @property
    def receptive_field(self) -> int | None:
        """Side in pixels of the region that a denoised pixel depends on; None if not known."""
        return None

    @property
    def uses_position(self) -> bool:
        """Whether the denoised image depends on the position in the field of view."""
        return False

    @property
    def spatial_dims(self) -> int:
        """The number of spatial dimensions: 2 for slices, 3 for volumes."""
        return 2


def check_pixel(
    pixel_mm: object, domain: ImageDomain | None = None, name: str = "pixel_mm"
) -> None:
    """Reject a pixel size that is no positive number, or that a prior does not know.

    Args:
        pixel_mm: pixel size in mm.
        domain: image domain of the prior; None for any pixel size.
        name: name of the parameter in messages.

    Raises:
        MedscoreError: it is; the message has the pixel size and the range of the prior.
    """
    if not is_number(pixel_mm) or not 0 < pixel_mm < float("inf"):
        raise MedscoreError(f"`{name}` is {pixel_mm!r:.80}", hint="use the pixel size in mm")
    if domain is None or domain.spacing_mm is None:
        return
    low, high = domain.spacing_mm
    if not low * (1 - ROUNDING) <= pixel_mm <= high * (1 + ROUNDING):
        raise MedscoreError(
            f"`{name}` is {pixel_mm:g} mm, prior {domain.name} knows pixels of {low:g} to "
            f"{high:g} mm",
            hint="use a pixel size in that range, or another prior",
        )


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
