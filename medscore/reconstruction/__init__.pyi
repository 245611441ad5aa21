"""Types of the public names of this package, which are imported when first used."""

from .cohort import (
    CohortRun as CohortRun,
    Line as Line,
    Outputs as Outputs,
    reconstruct_cohort as reconstruct_cohort,
)
from .denoised_files import denoise_file as denoise_file, write_denoised as write_denoised
from .denoising import Denoised as Denoised, denoise as denoise
from .method import Method as Method, Run as Run
from .outcome import Outcome as Outcome
from .result import Reconstruction as Reconstruction
from .run import choose_method as choose_method, reconstruct as reconstruct
from .sampling import Sampling as Sampling
from .saving import reconstruct_file as reconstruct_file, save as save
