"""A cone-beam scan: 60 views of 128 x 128 x 95 voxels, photon noise.

The volume is the thin one of a validation patient (95 slices of 0.8 mm; no validation volume has
128), measured on a grid that is finer in all three axes. The prior `ct` denoises its slices, of
which one sample is drawn, with each of the rules across slices; tv is the default. FDK has the best
of its windows, and total variation in three dimensions the best of its weights, on this very
volume.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from number import Number
from volumes_settings import (
    RULES,
    VALIDATION,
    Outcome,
    Settings,
    kept,
    limited,
    rows,
    scanned,
    with_steps,
)

import medscore as ms

SLICES, VIEWS = 95, 60
WINDOWS = ("ram-lak", "shepp-logan", "cosine", "hamming", "hann")
WEIGHTS = (3e-6, 3e-5, 1e-4)
ITERATIONS = 150


def numbers(settings: Settings) -> Iterator[Number]:
    """All numbers of this part; none without the development data.

    Args:
        settings: settings of the measurement.
    """
    settings = limited(settings, SLICES)
    file = settings.data / VALIDATION
    if not file.exists():
        return
    volume = ms.load_image(file).select(0, settings.slices or SLICES)
    truth, scan = scanned(volume, "cone-ct", VIEWS, 128)

    def best(name: str, key: str, values: tuple[float | str, ...], **fixed: int) -> Outcome:
        """The outcome of the best value of a parameter of a baseline."""
        found = []
        for value in values:
            parameters = {key: value, **fixed}
            make = partial(ms.reconstruct, scan, method=name, parameters=parameters)
            found.append(kept(settings, f"cone-{name}-{value}", make))
        return max(found, key=lambda each: each.quality(truth)[0])

    make = partial(ms.reconstruct, scan, "ct", **with_steps(settings))
    outcomes = {
        title: kept(settings, f"cone-ct-{rule}", partial(make, across_slices=rule))
        for rule, title in RULES.items()
    } | {
        "FDK": best("fbp", "window", WINDOWS),
        "3-D total variation": best("fista-tv", "weight", WEIGHTS, iterations=ITERATIONS),
    }
    for title, outcome in outcomes.items():
        yield from rows(title, outcome, truth)
    ours = outcomes[RULES["tv"]].quality(truth)[0]
    for title, least in (("FDK", 3.0), ("3-D total variation", 1.0)):
        gain = ours - outcomes[title].quality(truth)[0]
        yield Number(f"default over {title}", gain, "dB", least)
