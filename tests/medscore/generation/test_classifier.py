"""A classifier of noisy images, compared with exact class probabilities."""

import pytest
import torch
from torch import Tensor

from medscore.generation.classifier import (
    ClassifierContract,
    ClassifierSpec,
    NoisyClassifier,
    cross_entropy,
    labelled,
)
from medscore.priors.analytic import GMMPrior
from medscore.priors.contract import Provenance, SubVPSpec, VESpec, VPSpec
from medscore.sdes.base import SDE
from medscore.sdes.linear import VP

SPECS = [VESpec(sigma_min=0.01, sigma_max=20.0), VPSpec(), SubVPSpec()]


def data(sde: SDE) -> GMMPrior:
    """Images of 1 x 2 x 2 pixels in two classes: bright in the upper or in the lower row."""
    means = torch.tensor([[0.8, 0.8, 0.2, 0.2], [0.2, 0.2, 0.8, 0.8]])
    return GMMPrior(sde, torch.tensor([0.5, 0.5]), means, 0.01 * torch.eye(4).expand(2, 4, 4))


def drawn(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    clean = data(VP())
    labels = torch.randint(2, (n,), generator=generator)
    noise = torch.randn(n, 4, generator=generator)
    return (clean.means[labels] + 0.1 * noise).reshape(n, 1, 2, 2), labels


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.kind)
def test_it_learns_the_probabilities_of_classes_at_all_times(spec: VPSpec) -> None:
    """Within 0.1 of the exact probabilities on average, at low, medium and high noise."""
    none = Provenance(data="", patients=0, slices=0, steps=0, seed=0, licence="CC0")
    contract = ClassifierContract(
        name="c", classes=("a", "b"), quantity="grey", size=2, image_channels=1, data_mean=0.5,
        data_std=0.32, sde=spec, spec=ClassifierSpec(channels=(16,)), provenance=none,
    )  # fmt: skip
    torch.manual_seed(0)
    model = NoisyClassifier(contract)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        x0, labels = drawn(128, generator)
        both = labelled(x0, labels)
        u, z = torch.rand(128, generator=generator), torch.randn(both.shape, generator=generator)
        loss = cross_entropy(model, both, u, z).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    prior = data(model.sde)
    for ratio in (0.05, 0.5, 2.0):
        x0, _ = drawn(500, generator)
        t = model.sde.time(torch.full((500,), ratio))
        x = model.sde.marginal(x0, t, torch.randn(x0.shape, generator=generator))
        exact = prior.responsibilities(x, t)[:, 0]
        with torch.no_grad():
            found = torch.softmax(model(x, t), 1)[:, 0]
        assert float((found - exact).abs().mean()) < 0.1
        assert 0.2 < float(found.mean()) < 0.8


def test_the_loss_is_of_the_labels_that_are_drawn_with_the_images() -> None:
    x0, labels = drawn(4, torch.Generator().manual_seed(0))
    both = labelled(x0, labels)
    assert torch.equal(both[:, :1], x0)
    assert torch.equal(both[:, 1, 0, 0].long(), labels)
