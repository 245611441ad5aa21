"""A volume scanned slice by slice: 256 x 256 x 64, 45 views, photon noise.

The volume is the middle of a thin one of a validation patient (slices of 0.8 mm), measured on a
finer grid. All methods reconstruct the same data; of the prior `ct` one sample is drawn. Total
variation in three dimensions has the best of its weights on these very slices. Jumps are mean
absolute differences of neighbouring slices.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from number import Number
from volumes_settings import (
    VALIDATION,
    Settings,
    kept,
    limited,
    rows,
    scanned,
    with_steps,
)

import medscore as ms

SLICES, FIRST, VIEWS = 64, 16, 45
WEIGHTS = (1e-5, 3e-5, 1e-4)
ITERATIONS = 200


def numbers(settings: Settings) -> Iterator[Number]:
    """All numbers of this part; none without the development data.

    Args:
        settings: settings of the measurement.
    """
    settings = limited(settings, SLICES)
    file = settings.data / VALIDATION
    if not file.exists():
        return
    volume = ms.load_image(file).select(FIRST, FIRST + (settings.slices or SLICES))
    truth, scan = scanned(volume, "sparse-ct", VIEWS, None)
    make = partial(ms.reconstruct, scan, "ct", preset="sharpest", **with_steps(settings))
    default = kept(settings, "stack-default", make)
    alone = kept(settings, "stack-none", partial(make, across_slices="none"))
    found = {}
    for weight in WEIGHTS:
        parameters = {"weight": weight, "iterations": ITERATIONS, "across_slices": True}
        tv = partial(ms.reconstruct, scan, method="fista-tv", parameters=parameters)
        found[weight] = kept(settings, f"stack-tv-{weight:g}", tv)
    best = max(WEIGHTS, key=lambda each: found[each].quality(truth)[0])
    for title, outcome in (
        ("default", default),
        ("independent slices", alone),
        (f"3-D total variation, weight {best:g}", found[best]),
    ):
        yield from rows(title, outcome, truth, 1.05 if outcome is default else None)
    ours = default.quality(truth)[0]
    yield Number("default over independent slices", ours - alone.quality(truth)[0], "dB", 0.5)
    yield Number("default over 3-D TV", ours - found[best].quality(truth)[0], "dB", 2.0)
