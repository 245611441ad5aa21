"""The recipe of a prior for any matrix, of CT or MR slices."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from medscore.io.specs import Side, Strict
from medscore.nets.local_unet import NONE, LocalUNetSpec
from medscore.priors.contract import SDESpec
from medscore.training.objective_specs import EDMObjective, ObjectiveSpec
from medscore.training.recipe import TrainingRecipe

Factor = Annotated[float, Field(gt=0)]


class SourceSpec(Strict):
    """A group of training files and its share of the crops.

    Attributes:
        files: patterns of the files, relative to the data folder.
        weight: share of the crops, relative to the other groups.
        contrast: MR contrast of all its slices, one of the network's ``classes`` or ``none``; by
            default that which archives state for each slice.
    """

    files: tuple[str, ...] = Field(min_length=1)
    weight: float = Field(default=1.0, gt=0)
    contrast: str | None = None


class CropSpec(Strict):
    """The crops that the network is trained on.

    Attributes:
        sizes: sides of the crops in pixels; each batch has one of them.
        native: share of the crops that keep the pixel size of their source.
        pixel_mm: smallest and largest pixel size of the prior in mm; images are reduced up to the
            largest.
        quarter_turns: rotate slices by multiples of 90 degrees.
        gain: smallest and largest factor on the values, as the unit of a measurement may be wrong.
    """

    sizes: tuple[Side, ...] = Field(min_length=1)
    native: float = Field(default=0.4, ge=0, lt=1)
    pixel_mm: tuple[float, float] = (0.4, 3.0)
    quarter_turns: bool = True
    gain: tuple[Factor, Factor] = (1.0, 1.0)

    @model_validator(mode="after")
    def _ordered(self) -> CropSpec:
        if self.gain[0] > self.gain[1]:
            raise ValueError(f"gain {self.gain} must not decrease")
        return self


class NativeRecipe(TrainingRecipe):
    """The recipe of a prior for any matrix size.

    Attributes:
        modality: modality of the images, ``CT`` or ``MR``.
        quantity: quantity of the pixel values: ``HU`` for CT, ``magnitude`` or ``complex`` for MR;
            complex images are magnitudes with a random phase.
        low: image value that is 0 in the network's range; for MR in units of the slice's own 99.5th
            percentile.
        high: image value that is 1 in the network's range.
        sources: groups of training files.
        validation: patterns of the validation files, of other patients.
        validation_sizes: matrix sizes to which the validation slices are reduced.
        pixel_mm: pixel size in mm of archives that do not state theirs; by default such archives
            are refused.
        class_dropout: share of the crops whose class is hidden from a network with ``classes``, so
            that it also learns images of no known class.
        crops: the crops.
        sde: the forward diffusion.
        network: parameters of the network, which must be fully convolutional.
        objective: the loss.
    """

    modality: Literal["CT", "MR"]
    quantity: Literal["HU", "magnitude", "complex"]
    low: float
    high: float
    sources: tuple[SourceSpec, ...] = Field(min_length=1)
    validation: tuple[str, ...] = ()
    validation_sizes: tuple[Side, ...] = (128, 256, 512)
    pixel_mm: float | None = Field(default=None, gt=0)
    class_dropout: float = Field(default=0.2, ge=0, lt=1)
    crops: CropSpec
    sde: SDESpec
    network: LocalUNetSpec
    objective: ObjectiveSpec = EDMObjective()

    @property
    def channels(self) -> int:
        """Channels of the images: two for complex ones."""
        return 2 if self.quantity == "complex" else 1

    @model_validator(mode="after")
    def _consistent(self) -> NativeRecipe:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if (self.modality == "CT") != (self.quantity == "HU"):
            raise ValueError(f"the quantity of {self.modality} images cannot be {self.quantity}")
        if self.channels == 2 and self.low != 0:
            raise ValueError(f"low of complex images must be 0, not {self.low}")
        if self.network.image_channels != self.channels:
            raise ValueError(
                f"{self.quantity} images have {self.channels} channels: set image_channels of the "
                f"network to {self.channels}, not {self.network.image_channels}"
            )
        for size in (*self.crops.sizes, *self.validation_sizes):
            self.network.check_size(size)
        return self

    @model_validator(mode="after")
    def _contrasts_are_classes(self) -> NativeRecipe:
        classes = self.network.classes
        stated = [s.contrast for s in self.sources if s.contrast is not None]
        if self.modality == "CT" and (stated or classes):
            raise ValueError("CT images have no contrast: leave out contrast, and network.classes")
        for name in stated:
            if name not in (NONE, *classes):
                raise ValueError(
                    f"contrast {name!r} is not among network.classes ({', '.join(classes)})"
                    if classes
                    else f"contrast {name!r} without network.classes: list the contrasts there"
                )
        return self
