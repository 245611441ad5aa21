"""Supervised reconstructors: what they are when their networks say nothing, and that they learn."""

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


class Silent(nn.Module):
    """Says nothing, in any unit."""

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return torch.zeros_like(x)


def lines(size: int = 16) -> Hartley:
    return Hartley(hartley_mask(equispaced((size, size), 4.0)))


OPERATORS: dict[str, Operator] = {"CT": sparse_view(16, 2.0, 9), "MRI": lines()}


def images(seed: int = 0) -> Tensor:
    return torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_a_post_processor_that_says_nothing_gives_what_the_data_give(operator: Operator) -> None:
    y = operator.forward(images())
    assert torch.equal(PostProcessor(Silent())(operator, y), direct(operator, y))


def test_a_cascade_that_says_nothing_keeps_what_fits_the_data() -> None:
    """A step of length 1 along an orthogonal T is exact data consistency."""
    operator = lines()
    y = operator.forward(images())
    x = Cascade([Silent(), Silent()])(operator, y).detach()
    assert float(operator.residual(x, y).max()) < 1e-5


def test_a_silent_cascade_goes_down_the_gradient() -> None:
    operator = OPERATORS["CT"]
    y = operator.forward(images())
    misfits = [
        float(operator.residual(Cascade([Silent()] * blocks)(operator, y).detach(), y).max())
        for blocks in (1, 4, 16)
    ]
    assert misfits == sorted(misfits, reverse=True)
    assert misfits[-1] < 0.5 * misfits[0]


def test_complex_images_become_magnitudes() -> None:
    operator = Fourier(equispaced((16, 16), 2.0))
    y = operator.forward(images().to(torch.complex64))
    x = PostProcessor(Silent())(operator, y)
    assert torch.equal(x, operator.zero_filled(y).abs())


@pytest.mark.parametrize("spec", [
    PostProcessorSpec(kind="post-processor", network=SMALL),
    CascadeSpec(kind="cascade", network=SMALL, blocks=2),
], ids=["post-processor", "cascade"])  # fmt: skip
@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_everything_in_it_is_trained(
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
def test_samples_of_a_batch_do_not_see_each_other(operator: Operator) -> None:
    torch.manual_seed(0)
    model = CascadeSpec(kind="cascade", network=SMALL, blocks=2).build().eval()
    y = operator.forward(images())
    with torch.no_grad():
        together = model(operator, y)
        alone = torch.cat([model(operator, one[None]) for one in y])
    assert float((together - alone).abs().max()) < 1e-5
