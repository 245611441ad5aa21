"""Types of the public names of this package, which are imported when first used."""

from .measurement import (
    Measurement as Measurement,
    read_measurement as read_measurement,
    write_measurement as write_measurement,
)
from .read import measure as measure
from .simulation import simulate as simulate
from .tasks import OPTIONS as OPTIONS, TASKS as TASKS
