"""CondInstanceNorm++ follows its formula for any number of channels and pixels."""

import math
from statistics import fmean, pvariance, variance

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from medscore.nets.normalisation import CondInstanceNormPlus, InstanceNormPlus


def images(*shape: int) -> Tensor:
    return torch.rand(
        shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64
    )


def levels(batch: int) -> Tensor:
    return torch.arange(batch) % 3


@pytest.mark.parametrize("classes", [1, 4])
def test_the_normalisation_is_its_formula_in_plain_numbers(classes: int) -> None:
    layer = CondInstanceNormPlus(3, classes) if classes > 1 else InstanceNormPlus(3)
    for parameter in layer.double().parameters():
        nn.init.normal_(parameter)
    x, i = images(2, 3, 4, 5), torch.tensor([classes - 1, 0])
    out = layer(x, i)
    for n in range(2):
        pixels = [x[n, k].flatten().tolist() for k in range(3)]
        mu = [fmean(p) for p in pixels]
        v = math.sqrt(variance(mu) + 1e-5)
        for k in range(3):
            gamma, beta, alpha = (
                p.detach().reshape(classes, 3)[int(i[n]), k].item()
                for p in (layer.gamma, layer.beta, layer.alpha)
            )
            s = math.sqrt(pvariance(pixels[k]) + 1e-5)
            shift = beta + alpha * (mu[k] - fmean(mu)) / v
            expected = [gamma * (p - mu[k]) / s + shift for p in pixels[k]]
            assert out[n, k].flatten().tolist() == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_without_alpha_the_normalisation_is_torchs_instance_norm() -> None:
    layer = InstanceNormPlus(3).double()
    nn.init.zeros_(layer.alpha)
    nn.init.normal_(layer.beta)
    x = images(2, 3, 8, 8)
    theirs = functional.instance_norm(x, weight=layer.gamma, bias=layer.beta)
    torch.testing.assert_close(layer(x, levels(2)), theirs, rtol=1e-10, atol=1e-12)


def test_one_channel_has_no_spread_between_channels_and_no_nan() -> None:
    layer = InstanceNormPlus(1).double()
    x = images(2, 1, 8, 8).requires_grad_()
    out = layer(x, levels(2))
    torch.testing.assert_close(out, layer.gamma * functional.instance_norm(x), rtol=1e-10, atol=0)
    out.square().sum().backward()
    assert x.grad.isfinite().all()
    assert layer.alpha.grad.isfinite().all()


def test_one_pixel_or_a_flat_image_leaves_the_shift_alone() -> None:
    layer = InstanceNormPlus(2).double()
    nn.init.zeros_(layer.alpha)
    nn.init.normal_(layer.beta)
    for x in (images(3, 2, 1, 1), torch.full((3, 2, 4, 4), 0.5, dtype=torch.float64)):
        expected = layer.beta[None, :, None, None].expand_as(x)
        torch.testing.assert_close(layer(x, levels(3)), expected, rtol=0, atol=1e-12)
