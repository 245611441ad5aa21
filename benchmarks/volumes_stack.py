"""A volume scanned slice by slice: 256 x 256 x 64, 45 views, photon noise.

The volume is the middle of a thin one of a validation patient (slices of 0.8 mm), measured on a
finer grid. All methods reconstruct the same data; of the prior `ct` one sample is drawn, with each
of the rules across slices; 2.5d is the default. Total variation in three dimensions has the best of
its weights on these very slices. Jumps are mean absolute differences of neighbouring slices.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from number import Number
from volumes_settings import (
    RULES,
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
    make = partial(ms.reconstruct, scan, "ct", **with_steps(settings))
    ours = {
        rule: kept(settings, f"stack-{rule}", partial(make, across_slices=rule)) for rule in RULES
    }
    found = {}
    for weight in WEIGHTS:
        parameters = {"weight": weight, "iterations": ITERATIONS, "across_slices": True}
        tv = partial(ms.reconstruct, scan, method="fista-tv", parameters=parameters)
        found[weight] = kept(settings, f"stack-tv-{weight:g}", tv)
    best = max(WEIGHTS, key=lambda each: found[each].quality(truth)[0])
    for rule, title in RULES.items():
        yield from rows(title, ours[rule], truth, 1.05 if rule == "2.5d" else None)
    yield from rows(f"3-D total variation, weight {best:g}", found[best], truth)
    psnr = ours["2.5d"].quality(truth)[0]
    for title, other, least in (
        ("independent slices", ours["none"], 0.5), ("3-D TV", found[best], 2.0)
    ):  # fmt: skip
        yield Number(f"default over {title}", psnr - other.quality(truth)[0], "dB", least)
