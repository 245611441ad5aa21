"""The strength of total variation across slices, on volumes of training patients.

23 views at 128 x 128 with photon noise, 12 slices of each volume, prior `ct-128`, one sample by
DiffPIR, and the quality in dB over that of slices reconstructed each by itself (strength 0).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from number import Number
from volumes_settings import (
    TRAINING,
    Settings,
    jumps,
    kept,
    limited,
    scanned,
    with_steps,
)

import medscore as ms

STRENGTHS = (0.05, 0.1, 0.15, 0.2, 0.3)
SLICES = 12


def numbers(settings: Settings) -> Iterator[Number]:
    """All numbers of this part.

    Args:
        settings: settings of the measurement.
    """
    settings = limited(settings, SLICES)
    for name, first in TRAINING.items():
        file = settings.data / f"ct/train/{name}.nii.gz"
        if not file.exists():
            continue
        volume = ms.load_image(file).select(first, first + (settings.slices or SLICES))
        truth, scan = scanned(volume, "sparse-ct", 23, 128)
        alone = None
        for strength in (0.0, *STRENGTHS):
            make = partial(
                ms.reconstruct, scan, "ct-128", preset="sharpest",
                across_slices="tv" if strength else "none",
                parameters={"across_slices.strength": strength} if strength else {},
                **with_steps(settings),
            )  # fmt: skip
            found = kept(settings, f"strength-{name}-{strength}", make)
            psnr = found.quality(truth)[0]
            title = f"{name}, slices of {volume.spacing[2]:g} mm, strength {strength:g}"
            if alone is None:
                alone = psnr
                yield Number(f"{title}: PSNR", psnr, "dB")
            else:
                yield Number(f"{title}: gain", psnr - alone, "dB")
            ratio = jumps(found.values) / jumps(truth)
            yield Number(f"{title}: jumps between slices over the truth's", ratio)
