"""How images are measured, as a configuration file says it: a task and its choices."""

from __future__ import annotations

from medscore.io.specs import Strict
from medscore.measurements.tasks import Choices

DEFAULTS = Choices()


class ScanSpec(Strict):
    """A task of :data:`medscore.measurements.tasks.TASKS`, and what ``medscore simulate`` may be
    told of it; see :class:`medscore.measurements.tasks.Choices`. ``noise`` is as on its command
    line.
    """

    task: str
    views: int = DEFAULTS.views
    arc: float = DEFAULTS.arc
    acceleration: float = DEFAULTS.acceleration
    mask: str = DEFAULTS.mask
    coils: int = DEFAULTS.coils
    factor: int = DEFAULTS.factor
    blur: float = DEFAULTS.blur
    hidden: float = DEFAULTS.hidden
    implants: tuple[tuple[float, float, float], ...] = ()
    noise: str = "none"
    seed: int = 0
