"""Priors and images as users give them."""

from typing import Any

import numpy as np
import pytest
import torch

from medscore.domain import ImageDomain
from medscore.errors import MedscoreError
from medscore.generation.latent import decode, encode
from medscore.likelihood.divergence import exact, rademacher
from medscore.likelihood.flow import log_likelihood
from medscore.priors.analytic import GaussianPrior
from medscore.priors.base import Prior
from medscore.priors.given import given_images
from medscore.sdes.linear import VP

X = torch.zeros(1, 1, 2, 2)


def pixels() -> Prior:
    """A Gaussian prior of CT images of 2 x 2 pixels."""
    prior = GaussianPrior(VP(), torch.zeros(4), torch.eye(4))
    prior.domain = ImageDomain(modality="CT", quantity="HU", low=-1000, high=1500)
    return prior


@pytest.mark.parametrize(
    ("x", "why"),
    [
        (X / 0, "`x` holds NaN or infinity"),
        (X.int(), "`x` has the type int32"),
        (np.zeros((1, 1, 2, 2), complex), "`x` has the type complex128"),
        (X[0, 0], r"`x` has the shape \(2, 2\) - use \(batch, channel, H, W\)"),
        (X[:0], "`x` has the shape"),
        (X.expand(1, 3, 2, 2), "the prior custom prior has 1 channel"),
        (None, "`x` is a NoneType"),
    ],
)
def test_what_is_no_image_of_the_prior_is_refused(x: Any, why: str) -> None:
    for call in (lambda: encode(pixels(), x), lambda: log_likelihood(pixels(), x, exact)):
        with pytest.raises(MedscoreError, match=why):
            call()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"divergence": "exact"}, "`divergence` is 'exact' - use medscore.likelihood.exact"),
        ({"divergence": rademacher}, "`divergence` is rademacher"),
        ({"divergence": rademacher(X[..., :1], [0], 1)}, "`divergence` has probes of shape"),
        ({"start": 2}, "`start` is 2"),
        ({"rtol": 0}, "`rtol` is 0 - use a number > 0"),
        ({"atol": "x"}, "`atol` is 'x'"),
        ({"prior": 3}, "`prior` is 3"),
        ({"prior": "nope"}, "no prior 'nope'"),
    ],
)
def test_other_arguments_of_a_likelihood_are_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(MedscoreError, match=why):
        log_likelihood(**{"prior": pixels(), "x": X, "divergence": exact, **options})


def test_codes_are_named_in_the_message() -> None:
    with pytest.raises(MedscoreError, match="`code` has the shape"):
        decode(pixels(), X[0])


def test_arrays_are_converted() -> None:
    assert torch.equal(given_images(pixels(), X.numpy()), X)
