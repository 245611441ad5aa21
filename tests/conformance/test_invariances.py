"""Results do not depend on the batch, the unit of y, the order of slices, or a repetition.

Every conditioner is tested with its defaults on a CT scan and on k-space of real images, if it
supports them, with and without noise, in float32.
"""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from medscore.engine.job import Batch, Job
from medscore.engine.loop import run
from medscore.errors import MedscoreError
from medscore.operators.base import Operator
from medscore.operators.ct.scans import sparse_view
from medscore.operators.mri.hartley import Hartley, kspace_mask
from medscore.operators.mri.masks import equispaced
from medscore.operators.wrappers.whitened import Whitened
from medscore.priors.analytic import GMMPrior
from medscore.registry import methods as registry
from medscore.registry.build import build_conditioner, build_sampler
from medscore.samplers.ddim import DDIM
from medscore.samplers.grids import log_snr
from medscore.sdes.linear import VE

SIDE, N = 8, 8
ONTO = ("replacement", "ddrm")
AWARE = (
    "discrepancy",
    "jalal",
    "pigdm",
    "moment-matching",
    "ddnm",
    "ddrm",
    "dds",
    "daps",
    "diffpir",
)
"""Conditioners that use the noise level."""


def prior() -> GMMPrior:
    """A prior of two kinds of smooth images, whose score is not linear."""
    place = torch.arange(SIDE).float()
    near = torch.exp(-0.5 * ((place[:, None] - place) / 1.5) ** 2)
    covariance = torch.kron(near, near) + 0.01 * torch.eye(SIDE**2)
    means = torch.stack([torch.zeros(SIDE**2), torch.linspace(0, 1.5, SIDE**2)])
    shapes = torch.stack([0.05 * covariance, 0.1 * covariance])
    return GMMPrior(VE(0.01, 5.0), torch.ones(2), means, shapes)


OPERATORS: dict[str, Operator] = {
    "radon": sparse_view(SIDE, 1.0, 5),
    "hartley": Hartley(kspace_mask(equispaced((SIDE, SIDE), 2.0))),
}
CASES = [
    (name, kind, std)
    for name in registry.CONDITIONERS
    for kind in OPERATORS
    for std in (0.0, 0.1)
    if not (kind == "radon" and name in ONTO)
    and not (name == "discrepancy" and std == 0)
    and not (name not in AWARE and std > 0)
]


def measured(operator: Operator, std: float) -> Tensor:
    truth = prior().sample(N, 0.0, torch.Generator().manual_seed(1)).reshape(N, 1, SIDE, SIDE)
    y = operator.forward(truth)
    n = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
    return y + std * operator.mask(y) * n


def sample(
    name: str,
    operator: Operator,
    y: Tensor,
    std: float,
    batch: int = N,
    *,
    seeds: Sequence[int] = range(N),
) -> Tensor:
    make = build_conditioner(name, {})
    job = Job(
        seeds=seeds,
        shape=(1, SIDE, SIDE),
        times=log_snr(prior().sde, 8),
        batches=lambda items: Batch(prior(), DDIM(0.5), make(operator, y[list(items)], std)),
        batch_size=batch,
    )
    return run(job).x


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind", "std"), CASES)
def test_neighbours_order_and_seed(name: str, kind: str, std: float) -> None:
    """A sample does not depend on its batch, to 1e-4 of the range; the seed determines its bits.

    Slices in reverse order give the samples in reverse order.
    """
    operator = OPERATORS[kind]
    y = measured(operator, std)
    whole = sample(name, operator, y, std)
    assert torch.equal(whole, sample(name, operator, y, std))
    alone = sample(name, operator, y, std, batch=1)
    assert float((whole - alone).abs().max()) <= 1e-4
    same = y[:1].expand_as(y)
    draws = sample(name, operator, same, std)
    assert float((draws[0] - draws[1]).abs().max()) > 1e-4
    again = sample(name, operator, same, std, seeds=range(50, 50 + N))
    assert float((draws[1] - again[1]).abs().max()) > 1e-4
    back = sample(name, operator, y.flip(0), std, seeds=range(N)[::-1])
    assert float((back.flip(0) - whole).abs().max()) <= 1e-4


@pytest.mark.parametrize(("name", "kind", "std"), [c for c in CASES if c[0] not in ONTO])
def test_the_unit_of_the_measurements_does_not_matter(name: str, kind: str, std: float) -> None:
    """The images do not change if A, y and the noise are expressed in another unit."""
    operator, c = OPERATORS[kind], 37.0
    y = measured(operator, std)
    shape = (1, 1, *operator.grid_shape)
    scaled = Whitened(operator, torch.full(shape, 1 / c))  # A times c
    found = sample(name, scaled, scaled.white(y), c * std)
    plain = sample(name, Whitened(operator, torch.ones(shape)), y, std)
    assert float((found - plain).abs().max()) <= 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), sorted({case[:2] for case in CASES}))
def test_second_order_steps_differentiate_through_every_conditioner(name: str, kind: str) -> None:
    """Except through those whose denoised image holds a derivative already, which are refused."""
    std = max(case[2] for case in CASES if case[:2] == (name, kind))
    operator = OPERATORS[kind]
    own = {"covariance": "denoiser"} if name == "moment-matching" else {}
    y, make = measured(operator, std)[:2], build_conditioner(name, own)
    job = Job(
        seeds=range(2),
        shape=(1, SIDE, SIDE),
        times=log_snr(prior().sde, 3),
        batches=lambda items: Batch(
            prior(), build_sampler("pc-ozaki", {}), make(operator, y[list(items)], std)
        ),
        batch_size=2,
    )
    if name in ("pigdm", "moment-matching"):
        with pytest.raises(MedscoreError, match=r"has no derivative, .* - use another sampler"):
            run(job)
        return
    whole, alone = run(job).x, run(replace(job, batch_size=1)).x
    assert bool(torch.isfinite(whole).all())
    assert float((whole - alone).abs().max()) <= 1e-4
