"""Figures of the reconstructions of a slice by all methods, with error maps."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medscore.datasets.volume import Volume
from medscore.reconstruction.preview import picture

ERROR = 0.1
"""Error that is shown white in the error maps, relative to the width of the window."""


def comparison(images: Mapping[str, NDArray[np.floating]], reference: Volume) -> bytes:
    """A PNG with the reference and the images above their absolute errors.

    Args:
        images: images (H, W) by name; standard deviations are left out.
        reference: ground truth, a volume of one slice.
    """
    truth = reference.values
    shown = {name: image[None] for name, image in images.items() if not name.endswith(", std")}
    if reference.modality == "CT":
        low, high, unit = -1000.0, 1000.0, "HU"
    else:
        low, high, unit = 0.0, float(np.quantile(truth, 0.998)), ""
    spacing = reference.spacing[0]
    above = picture({"reference": truth, **shown}, (low, high), spacing, unit=unit)
    errors = {name: np.abs(image - truth) for name, image in shown.items()}
    below = picture(
        {"error": np.zeros_like(truth), **errors}, (0.0, ERROR * (high - low)), spacing,
        unit=unit,
    )  # fmt: skip
    canvas = Image.new("L", (above.width, above.height + below.height))
    canvas.paste(above, (0, 0))
    canvas.paste(below, (0, above.height))
    out = io.BytesIO()
    canvas.save(out, format="png")
    return out.getvalue()
