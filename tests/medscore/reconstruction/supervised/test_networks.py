"""Supervised networks: their output if the inner networks return zero, and their gradients."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medscore.errors import MedscoreError
from medscore.nets.unet import UNetSpec
from medscore.operators.base import Operator
from medscore.operators.ct.scans import sparse_view
from medscore.operators.mri.fourier import Fourier
from medscore.operators.mri.hartley import Hartley, kspace_mask as hartley_mask
from medscore.operators.mri.masks import equispaced
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.sensitivity import birdcage
from medscore.reconstruction.baselines.direct import direct
from medscore.reconstruction.supervised.networks import (
    Cascade,
    CascadeSpec,
    PostProcessor,
    PostProcessorSpec,
    check_channels,
)

SMALL = UNetSpec(channels=(8, 8), blocks=1, fold=2, groups=8)
SPECS: dict[str, Any] = {"post-processor": PostProcessorSpec, "cascade": CascadeSpec}


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


def phases() -> Tensor:
    """Complex images (3, 1, 16, 16)."""
    return torch.polar(images(), 6 * images(1))


def test_a_complex_cascade_of_zero_networks_stays_consistent_with_the_data() -> None:
    operator = Fourier(equispaced((16, 16), 2.0))
    y = operator.forward(phases())
    model = Cascade([Zero(), Zero()], channels=2)
    assert torch.allclose(model(operator, y), operator.zero_filled(y).abs(), atol=1e-5)
    whole = Fourier(torch.ones(16, 16, dtype=torch.bool))
    assert torch.allclose(model(whole, whole.forward(phases())), images(), atol=1e-5)


@pytest.mark.parametrize("kind", ["post-processor", "cascade"])
@pytest.mark.parametrize("coils", [1, 3])
def test_networks_of_two_channels_learn_complex_images(kind: str, coils: int) -> None:
    torch.manual_seed(0)
    network = SMALL.model_copy(update={"image_channels": 2})
    spec = SPECS[kind](kind=kind, network=network, **({"blocks": 2} if kind == "cascade" else {}))
    model, mask, x = spec.build(), equispaced((16, 16), 2.0), phases()
    operator: Operator = Fourier(mask)
    if coils > 1:
        operator = MulticoilFourier(birdcage(coils, 16, 16), mask)
    y = operator.forward(x)
    optimiser = torch.optim.Adam(model.network.parameters(), 1e-3)
    losses = []
    for _ in range(20):
        optimiser.zero_grad()
        loss = (model(operator, y) - x.abs()).square().mean()
        loss.backward()
        grads = [p.grad for p in model.network.parameters() if p.grad is not None]
        assert all(bool(grad.isfinite().all()) for grad in grads)
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    assert model(operator, y).shape == (3, 1, 16, 16)


@pytest.mark.parametrize(
    ("kind", "channels", "of_complex", "use"),
    [
        ("post-processor", 1, False, None),
        ("post-processor", 1, True, None),
        ("post-processor", 2, True, None),
        ("cascade", 1, False, None),
        ("cascade", 2, True, None),
        ("post-processor", 2, False, 1),
        ("cascade", 2, False, 1),
        ("cascade", 1, True, 2),
        ("cascade", 3, True, 2),
        ("post-processor", 3, False, 1),
    ],
)
def test_a_network_must_have_the_channels_of_the_images(
    kind: str, channels: int, of_complex: bool, use: int | None
) -> None:
    network = SMALL.model_copy(update={"image_channels": channels})
    spec = SPECS[kind](kind=kind, network=network)
    if use is None:
        check_channels(spec, of_complex, "net")
        return
    with pytest.raises(MedscoreError, match=r"network net, a .* has image_channels") as error:
        check_channels(spec, of_complex, "net")
    assert error.value.hint == f"use a network with image_channels {use}"


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
