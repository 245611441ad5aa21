"""Supervised networks: their output if the inner networks return zero, and their gradients."""

import pytest
import torch
from torch import Tensor, nn

from medscore.nets.unet import UNetSpec
from medscore.operators.base import Operator
from medscore.operators.ct.scans import sparse_view
from medscore.operators.mri.fourier import Fourier
from medscore.operators.mri.hartley import Hartley, kspace_mask as hartley_mask
from medscore.operators.mri.masks import equispaced
from medscore.reconstruction.baselines.direct import direct
from medscore.reconstruction.supervised.networks import (
    Cascade,
    CascadeSpec,
    PostProcessor,
    PostProcessorSpec,
)

SMALL = UNetSpec(channels=(8, 8), blocks=1, fold=2, groups=8)


class Zero(nn.Module):
    """A network that returns zero."""

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return torch.zeros_like(x)


def lines(size: int = 16) -> Hartley:
    return Hartley(hartley_mask(equispaced((size, size), 4.0)))


OPERATORS: dict[str, Operator] = {"CT": sparse_view(16, 2.0, 9), "MRI": lines()}


def images(seed: int = 0) -> Tensor:
    return torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_a_post_processor_of_a_zero_network_is_the_direct_reconstruction(
    operator: Operator,
) -> None:
    y = operator.forward(images())
    assert torch.equal(PostProcessor(Zero())(operator, y), direct(operator, y))


def test_a_cascade_of_zero_networks_stays_consistent_with_the_data() -> None:
    """With an orthogonal T, a step of length 1 gives exact data consistency."""
    operator = lines()
    y = operator.forward(images())
    x = Cascade([Zero(), Zero()])(operator, y).detach()
    assert float(operator.residual(x, y).max()) < 1e-5


def test_a_cascade_of_zero_networks_reduces_the_misfit() -> None:
    operator = OPERATORS["CT"]
    y = operator.forward(images())
    misfits = [
        float(operator.residual(Cascade([Zero()] * blocks)(operator, y).detach(), y).max())
        for blocks in (1, 4, 16)
    ]
    assert misfits == sorted(misfits, reverse=True)
    assert misfits[-1] < 0.5 * misfits[0]


def test_complex_images_become_magnitudes() -> None:
    operator = Fourier(equispaced((16, 16), 2.0))
    y = operator.forward(images().to(torch.complex64))
    x = PostProcessor(Zero())(operator, y)
    assert torch.equal(x, operator.zero_filled(y).abs())


@pytest.mark.parametrize("spec", [
    PostProcessorSpec(kind="post-processor", network=SMALL),
    CascadeSpec(kind="cascade", network=SMALL, blocks=2),
], ids=["post-processor", "cascade"])  # fmt: skip
@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_all_parameters_receive_a_gradient(
    spec: PostProcessorSpec | CascadeSpec, operator: Operator
) -> None:
    torch.manual_seed(0)
    model = spec.build()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    optimiser = torch.optim.Adam(model.network.parameters(), 1e-3)
    x, losses = images(), []
    y = operator.forward(x)
    for _ in range(30):
        optimiser.zero_grad()
        loss = (model(operator, y) - x).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    after = model.network.state_dict()
    assert [name for name in before if torch.equal(before[name], after[name])] == []


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_samples_of_a_batch_are_independent(operator: Operator) -> None:
    torch.manual_seed(0)
    model = CascadeSpec(kind="cascade", network=SMALL, blocks=2).build().eval()
    y = operator.forward(images())
    with torch.no_grad():
        together = model(operator, y)
        alone = torch.cat([model(operator, one[None]) for one in y])
    assert float((together - alone).abs().max()) < 1e-5
