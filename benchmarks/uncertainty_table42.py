"""Table 4.2 of the dissertation: the time of a covariance that is predicted, against autodiff.

In 64 dimensions the Hessian of log p is predicted as a diagonal plus low rank, or is the Jacobian
of a score network by one backward pass for each dimension; the text reports a factor of 85 in 100
dimensions. For images the head of a prior is timed against the diagonal by eight random probes,
each with a backward pass, and against the denoiser without a head. The heads are untrained, which
their time does not depend on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from number import Number
from timing import medians
from torch import Tensor, nn
from uncertainty_settings import Settings

from medscore.nets.any_size import without_grid
from medscore.nets.covariance_head import head_spec
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior
from medscore.priors.network import NetworkPrior

D, RANK, HIDDEN, BATCH, PROBES, SIDE, ROUNDS = 64, 13, 256, 10, 8, 128, 7


def mlp(outputs: int) -> nn.Sequential:
    """A network of two hidden layers."""
    return nn.Sequential(
        nn.Linear(D, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(),
        nn.Linear(HIDDEN, outputs),
    )  # fmt: skip


def in_few_dimensions() -> Iterator[Number]:
    """Both Hessians as D x D matrices."""
    torch.manual_seed(0)
    score, second, x = mlp(D), mlp((1 + RANK) * D), torch.randn(BATCH, D)

    def predicted() -> Tensor:
        with torch.no_grad():
            diagonal, low = second(x).split([D, RANK * D], dim=1)
            b = low.unflatten(1, (RANK, D))
            return torch.baddbmm(torch.diag_embed(diagonal), b.mT, b)

    def differentiated() -> Tensor:
        leaf = x.clone().requires_grad_()
        rows = score(leaf).sum(0)
        return torch.stack([torch.autograd.grad(r, leaf, retain_graph=True)[0] for r in rows], 1)

    assert predicted().shape == differentiated().shape == (BATCH, D, D)
    times = medians({"predicted": predicted, "autodiff": differentiated}, ROUNDS)
    factor = times["autodiff"] / times["predicted"]
    yield Number(f"s_2 in {D} dimensions: time by autodiff by that of D2SM", factor, "x", 20)


def with_head(name: str) -> NetworkPrior:
    """A shipped prior with an untrained head of rank 4."""
    prior = load_prior(prior_path(name))
    contract = prior.contract
    assert contract is not None
    network = without_grid(prior.network)
    prior.head = head_spec(network, contract.channels, contract.data_std, 4, 32).build()
    return prior.on_grid((SIDE, SIDE), 2.5).requires_grad_(False)


def calls(prior: NetworkPrior) -> dict[str, Callable[[], object]]:
    """The denoiser, the denoiser with its head, and the diagonal by probes."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, prior.contract.channels if prior.contract else 1, SIDE, SIDE,
                    generator=generator)  # fmt: skip
    t = prior.sde.time(torch.full((1,), 0.2))

    def bare() -> None:
        with torch.no_grad():
            prior.denoise(x, t)

    def head() -> None:
        with torch.no_grad():
            prior.denoise_with_covariance(x, t)

    def probes() -> None:
        leaf = x.clone().requires_grad_()
        denoised = prior.denoise(leaf, t)
        for _ in range(PROBES):
            v = torch.randn(x.shape, generator=generator).sign()
            torch.autograd.grad(denoised, leaf, v, retain_graph=True)

    return {"bare": bare, "head": head, "probes": probes}


def numbers(_: Settings) -> Iterator[Number]:
    """The factors of time."""
    yield from in_few_dimensions()
    for name in ("ct", "ct-128", "mri-128"):
        made = calls(with_head(name))
        for call in made.values():
            call()
        times = medians(made, ROUNDS, burst=1)
        more = 100 * (times["head"] / times["bare"] - 1)
        factor = times["probes"] / times["head"]
        what = f"{name} at {SIDE} x {SIDE}: "
        yield Number(f"{what}additional time of the head", more, "%", None, 10)
        yield Number(f"{what}time of {PROBES} probes by that of the head", factor, "x", 5)
