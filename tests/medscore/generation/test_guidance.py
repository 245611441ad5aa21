"""A prior and the exact classifier of noisy points make the prior of a class, exactly."""

import pytest
import torch
from densities import NAMES, SDES, mixture, points, times
from torch import Tensor

from medscore.analytic import GaussianPrior
from medscore.generation.guidance import Guided
from medscore.sde import SDE
from medscore.types import State, Times


@pytest.mark.parametrize("sde", SDES, ids=NAMES)
@pytest.mark.parametrize("t", [0.05, 0.4, 1.0])
def test_the_exact_classifier_leaves_one_component_of_a_mixture(sde: SDE, t: float) -> None:
    prior = mixture(sde)

    def classifier(x: State, t: Times) -> Tensor:
        return torch.log(prior.responsibilities(x, t))

    x = points(prior, 6, t)
    classes = torch.tensor([0, 1, 2, 0, 1, 2])
    guided = Guided(prior, classifier, classes)
    for k in range(3):
        alone = GaussianPrior(sde, prior.means[k], prior.covariances[k])
        mine = classes == k
        time = times(6, t)
        for found, expected in ((guided.score, alone.score), (guided.denoise, alone.denoise)):
            assert torch.allclose(found(x, time)[mine], expected(x, time)[mine], atol=1e-6)


def test_strength_scales_the_classifier_alone() -> None:
    prior = mixture(SDES[1])

    def classifier(x: State, t: Times) -> Tensor:
        return torch.log_softmax(x, 1)

    x, t = points(prior, 2, 0.5), times(2, 0.5)
    one, two = (Guided(prior, classifier, torch.tensor([0, 2]), s) for s in (1.0, 2.0))
    base = prior.score(x, t)
    assert torch.allclose(two.score(x, t) - base, 2 * (one.score(x, t) - base))
