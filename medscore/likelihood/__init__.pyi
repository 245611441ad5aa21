"""Types of the public names of this package, which are imported when first used."""

from .assessment import (
    ImageLikelihood as ImageLikelihood,
    assess_image as assess_image,
    make_dequantization as make_dequantization,
)
from .bound import (
    Bound as Bound,
    correction as correction,
    denoising_bound as denoising_bound,
    denoising_draw as denoising_draw,
    matching_bound as matching_bound,
)
from .dequantization import (
    DequantizationFlow as DequantizationFlow,
    dequantization_loss as dequantization_loss,
)
from .dequantizer import (
    DequantizerContract as DequantizerContract,
    FlowSpec as FlowSpec,
    load_dequantizer as load_dequantizer,
)
from .divergence import (
    Divergence as Divergence,
    Hutchinson as Hutchinson,
    exact as exact,
    gaussian as gaussian,
    rademacher as rademacher,
)
from .flow import FlowLikelihood as FlowLikelihood, log_likelihood as log_likelihood
from .image_set import ImageSet as ImageSet
from .inputs import read_images as read_images
from .proposal import Proposal as Proposal, fit_proposal as fit_proposal
from .report import (
    Assessment as Assessment,
    assess_images as assess_images,
    write_assessment as write_assessment,
)
from .settings import LikelihoodSettings as LikelihoodSettings
from .typicality import (
    Typical as Typical,
    nats_per_dim as nats_per_dim,
    network_range as network_range,
    read_typical as read_typical,
    write_typical as write_typical,
    z_scores as z_scores,
)
