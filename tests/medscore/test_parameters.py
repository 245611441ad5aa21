"""Settings of methods: their types and ranges are checked when an object is made."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from medscore.conditioners import DAPS, DDS, DPS
from medscore.errors import MedscoreError
from medscore.parameters import check_value
from medscore.samplers import DDIM


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: DDIM(eta="x"), r"`eta` is 'x' - use a number in \[0, 1\]"),  # type: ignore[arg-type]
        (lambda: DDIM(eta=True), "`eta` is True - use a number"),
        (lambda: DDIM(eta=None), "`eta` is None - use a number"),  # type: ignore[arg-type]
        (lambda: DDIM(eta=2), r"`eta` is 2 - use a number in \[0, 1\]"),
        (lambda: DDIM(eta=float("nan")), "`eta` is nan"),
        (lambda: DPS.with_settings(zeta="x"), "`zeta` is 'x' - use a number 0 or greater"),
        (lambda: DPS.with_settings(zeta=-1), "`zeta` is -1"),
        (lambda: DPS.with_settings(y=1), "DPS has no setting y - it has zeta"),
        (lambda: DAPS.with_settings(ahead=1.5), "`ahead` is 1.5 - use a whole number"),
    ],
)
def test_a_wrong_setting_is_refused_at_once(make: Callable[[], Any], why: str) -> None:
    with pytest.raises(MedscoreError, match=why):
        make()


def test_numbers_of_numpy_and_absent_settings_are_accepted() -> None:
    check_value(DDIM, "eta", np.float32(0.5))
    DDS.with_settings(gamma=None)
