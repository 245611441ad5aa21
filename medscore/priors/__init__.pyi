"""Types of the public names of this package, which are imported when first used."""

from .base import Prior as Prior
from .catalogue import (
    known_priors as known_priors,
    prior_path as prior_path,
    shipped_priors as shipped_priors,
)
from .checkpoint import (
    build_prior as build_prior,
    load_prior as load_prior,
    read_checkpoint as read_checkpoint,
    save_prior as save_prior,
    verify as verify,
)
from .contract import DataContract as DataContract
from .fetching import (
    FetchedPrior as FetchedPrior,
    fetch_prior as fetch_prior,
    remove_prior as remove_prior,
)
from .network import NetworkPrior as NetworkPrior
from .preconditioning import (
    EDM as EDM,
    Level as Level,
    clean as clean,
    denoiser as denoiser,
    log_ratio as log_ratio,
    log_sigma as log_sigma,
    noise as noise,
    ratio as ratio,
    scaled_score as scaled_score,
    score as score,
    time_999 as time_999,
    velocity as velocity,
)
