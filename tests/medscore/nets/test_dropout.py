"""Dropout in MONAI's U-Net: none by default, the stated rate, and seeded draws."""

import pytest
import torch
from torch import Tensor, nn

from medscore.nets.dropout import dropping, with_dropout
from medscore.nets.unet import UNetSpec
from medscore.reconstruction.supervised.networks import PostProcessorSpec

SMALL = UNetSpec(channels=(8, 8), blocks=1, fold=2, groups=8)


def network(probability: float) -> nn.Module:
    torch.manual_seed(0)
    model = with_dropout(SMALL.build(), probability).eval()
    for parameter in model.parameters():  # MONAI's last layers are zero at first
        nn.init.normal_(parameter, std=0.1)
    return model


def images(seed: int = 0) -> Tensor:
    return torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_without_dropout_the_network_is_as_before() -> None:
    model = SMALL.build()
    names = list(model.state_dict())
    assert list(with_dropout(model, 0.0).state_dict()) == names


def test_every_residual_block_drops_at_the_stated_rate() -> None:
    from monai.networks.nets.diffusion_model_unet import DiffusionUNetResnetBlock

    model = network(0.3)
    blocks = [m for m in model.modules() if isinstance(m, DiffusionUNetResnetBlock)]
    layers = [m for m in model.modules() if isinstance(m, nn.Dropout) and m.p > 0]
    assert len(layers) == len(blocks) > 4
    with dropping(model, 0):
        kept = (layers[0](torch.ones(100_000)) != 0).float().mean()
    assert kept == pytest.approx(0.7, abs=0.01)  # 6.9 standard deviations


def test_draws_follow_from_the_seed_and_leave_the_network_as_it_was() -> None:
    model, x, c = network(0.3), images(), torch.zeros(2)
    before, state = model(x, c), torch.get_rng_state()
    draws = []
    for seed in (1, 1, 2):
        with dropping(model, seed):
            draws.append(model(x, c))
    assert torch.equal(draws[0], draws[1])
    assert not torch.allclose(draws[0], draws[2])
    assert torch.equal(model(x, c), before)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_post_processor_takes_dropout() -> None:
    spec = PostProcessorSpec(kind="post-processor", network=SMALL, dropout=0.1)
    rates = {m.p for m in spec.build().modules() if isinstance(m, nn.Dropout)}
    assert 0.1 in rates
