"""Types of the public names of this package, which are imported when first used."""

from .job import UNCONDITIONAL as UNCONDITIONAL, Batch as Batch, Job as Job
from .loop import (
    Samples as Samples,
    StepInfo as StepInfo,
    run as run,
)
from .resume import Residual as Residual
