"""The default against posteriors that are known exactly, with and without noise.

The problems and the definitions are those of benchmarks/calibration.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import calibration
from number import Number
from uncertainty_settings import Settings

from medscore.registry.settings import AUTO


def numbers(_: Settings) -> Iterator[Number]:
    """All numbers of this part."""
    for kind in calibration.PRIORS:
        for noise in calibration.NOISES:
            found = calibration.measure(AUTO, kind, noise)
            assert found is not None
            title = f"default, {kind}, noise {noise:g}"
            yield Number(f"{title}: bias in posterior deviations", found.bias, "", None, 0.1)
            yield Number(f"{title}: spread", found.spread, "", 0.95, 1.05)
            yield Number(f"{title}: coverage of 90 % intervals", 100 * found.coverage, "%", 88, 92)
