"""Types of the public names of this package, which are imported when first used."""

from .denoising import (
    Denoising as Denoising,
    ddpm as ddpm,
    denoising_loss as denoising_loss,
    denoising_score_matching as denoising_score_matching,
    edm as edm,
    likelihood as likelihood,
    likelihood_importance as likelihood_importance,
    smld as smld,
)
from .dequantised import Dequantised as Dequantised
from .grey_levels import Levels as Levels
from .high_order import HighOrder as HighOrder
from .score_matching import exact_score_matching as exact_score_matching
from .second_order import SecondOrder as SecondOrder
from .sliced import (
    gaussian as gaussian,
    rademacher as rademacher,
    sliced_score_matching as sliced_score_matching,
    sliced_score_matching_vr as sliced_score_matching_vr,
    sphere as sphere,
)
from .sliced_sde import SlicedSDE as SlicedSDE
from .variance_reduction import denoising_vr as denoising_vr
