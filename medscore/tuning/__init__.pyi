"""Types of the public names of this package, which are imported when first used."""

from .config import TuningSpec as TuningSpec, read_tuning as read_tuning
from .run import Tuned as Tuned, tune as tune
