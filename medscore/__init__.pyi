"""Types of the public names; ``__init__.py`` imports each when it is first used."""

from .api import (
    list_priors as list_priors,
    load_prior as load_prior,
    quality as quality,
    sample as sample,
)
from .conditioners.base import Conditioner as Conditioner
from .datasets.load import load_image as load_image
from .datasets.volume import Volume as Volume
from .domain import ImageDomain as ImageDomain
from .errors import MedscoreError as MedscoreError
from .generation.latent import decode as decode, encode as encode
from .likelihood.flow import log_likelihood as log_likelihood
from .measurements.custom import make_measurement as make_measurement
from .measurements.measurement import (
    Measurement as Measurement,
    read_measurement as read_measurement,
    write_measurement as write_measurement,
)
from .measurements.read import measure as measure
from .measurements.simulation import simulate as simulate
from .metrics.convention import Convention as Convention
from .metrics.image_quality import Quality as Quality
from .operators.adapters import from_deepinv as from_deepinv, from_sigpy as from_sigpy
from .operators.base import Operator as Operator
from .operators.linear import LinearOperator as LinearOperator
from .priors.base import Prior as Prior
from .priors.fetching import fetch_prior as fetch_prior
from .priors.network import NetworkPrior as NetworkPrior
from .reconstruction.denoising import denoise as denoise
from .reconstruction.method import Method as Method
from .reconstruction.result import Reconstruction as Reconstruction
from .reconstruction.run import reconstruct as reconstruct
from .reconstruction.saving import save as save
from .samplers.base import Sampler as Sampler
from .training import train as train

__version__: str
