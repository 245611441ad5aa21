"""Likelihoods of the shipped VP prior.

    python benchmarks/likelihood.py            # about 15 minutes on 2 cores
    python benchmarks/likelihood.py --check    # exit 1 if a target is missed

Measured on slices of validation patients: bits per dimension by the probability flow and by the
bound of Eq. B.41, the variance of the bound with importance-sampled and with uniform times, and for
one slice in float64 the error of encoding followed by decoding. With --peer, bits per dimension of
another prior on the same slices; with --dequantizer, trained dequantization noise compared with
uniform noise. If --data has no slices, head CT images that ship with pydicom are used. The results
are in docs/benchmarks/likelihood.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from development_data import DATA
from number import Number, table
from torch import Tensor

from medscore.datasets.collections.cohort import read_cohort
from medscore.generation.latent import decode, encode
from medscore.likelihood.bound import correction, denoising_bound
from medscore.likelihood.dequantization import DequantizationFlow
from medscore.likelihood.dequantizer import load_dequantizer
from medscore.likelihood.divergence import rademacher
from medscore.likelihood.flow import log_likelihood
from medscore.likelihood.proposal import Proposal, fit_proposal
from medscore.likelihood.typicality import network_range
from medscore.objectives.denoising import ImportanceTimes, likelihood_importance
from medscore.objectives.grey_levels import Levels, uniform
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior, read_checkpoint
from medscore.priors.counted import Counted
from medscore.priors.network import NetworkPrior
from medscore.white_noise import Noise, derive_seed

BITS = Levels(8)
"""Grey levels of the slices."""

POINTS = 256
"""Times at which the variance is integrated."""


def slices(data: Path, count: int) -> Tensor:
    """CT slices (count, 1, 128, 128) of 8 bits, dequantized with uniform noise."""
    archive = data / "ct" / "tcga-lung-slices-validation.npz"
    heads = [f"package:pydicom/data/test_files/{name}.dcm"
             for name in ("693_J2KI", "J2K_pixelrep_mismatch")]  # fmt: skip
    patterns = [str(archive)] if archive.is_file() else heads
    cases = read_cohort(patterns, root=data, modality="CT", size=128, limit=count)
    contract = load_prior(prior_path("ct-128-vp")).contract
    assert contract is not None
    x = torch.cat([network_range(case.volume.values, contract) for case in cases])
    k = BITS.quantise(x)
    return BITS.dequantise(k, uniform(k, range(len(k))))


def shipped(data: Path, count: int, tolerance: float) -> list[Number]:
    """Flow, bound and variances for the shipped VP prior."""
    prior, x = load_prior(prior_path("ct-128-vp")), slices(data, count)
    d = x[0].numel()
    flows, bounds, spread = [], [], []
    proposal = fit_proposal(prior, x, range(1000, 1000 + len(x)))
    for i in range(len(x)):
        image, zero = x[i : i + 1], torch.zeros(1)
        probe = rademacher(image, [i], 1)
        flow = log_likelihood(prior, image, probe, rtol=tolerance, atol=tolerance)
        bound = denoising_bound(prior, image, [i], 200) + correction(prior, image, [i], 200)
        spread.append(variances(prior, image, i, proposal))
        flows.append(float(BITS.bits_per_dim(-flow.nats, zero, d)))
        bounds.append(float(BITS.bits_per_dim(bound.nats, zero, d)))
        print(f"slice {i}: flow {flows[-1]:.3f}, bound {bounds[-1]:.3f} bits/dim, NFE {flow.nfe}",
              flush=True)  # fmt: skip
    n = len(x)
    gap = sum(bounds) / n - sum(flows) / n
    plain, importance, fitted = torch.tensor(spread).mean(0).tolist()
    return [
        Number(f"ct-128-vp, {n} slices, flow (bits/dim, 8 bits)", sum(flows) / n),
        Number("ct-128-vp, bound of Eq. B.41 (bits/dim)", sum(bounds) / n),
        Number("bound minus flow (bits/dim)", gap),
        Number("variance of the bound, uniform times over importance-sampled times (Eq. 9.12)",
               plain / importance, at_least=10),
        Number("variance of the bound, uniform times over times from a fitted proposal",
               plain / fitted, at_least=10),
    ]  # fmt: skip


def round_trip(data: Path, tolerance: float) -> list[Number]:
    """Encode one slice, then decode it."""
    prior, x = load_prior(prior_path("ct-128-vp")).double(), slices(data, 4)[:1].double()
    there, back = Counted(prior), Counted(prior)
    code = encode(there, x, rtol=tolerance, atol=tolerance)
    image = decode(back, code, rtol=tolerance, atol=tolerance)
    return [
        Number(f"NFE of encoding one slice in float64, tolerance {tolerance:g}", there.nfe),
        Number("NFE of decoding it", back.nfe),
        Number("encode, then decode: largest difference", float((image - x).abs().max()),
               at_most=1e-3),
    ]  # fmt: skip


def bound_bits(
    prior: NetworkPrior, k: Tensor, draws: int, noise: DequantizationFlow
) -> list[float]:
    """Bits per dimension of grey levels by the bound of Eq. B.41, dequantized with ``noise``."""
    seeds = range(len(k))
    x, log_q = noise.dequantise(k, [derive_seed(seed, 2) for seed in seeds])
    bound = denoising_bound(prior, x, seeds, draws) + correction(prior, x, seeds, draws)
    bits: list[float] = noise.levels.bits_per_dim(bound.nats, log_q, k[0].numel()).tolist()
    return bits


def paired(label: str, baseline: str, ours: list[float], theirs: list[float]) -> list[Number]:
    """Means of two paired sets, and by how much the first is lower than the baseline."""
    less = torch.tensor(theirs) - torch.tensor(ours)
    error = float(less.std()) / len(less) ** 0.5
    return [
        Number(f"{label} (bits/dim)", float(torch.tensor(ours).mean())),
        Number(f"{baseline} (bits/dim)", float(torch.tensor(theirs).mean())),
        Number("reduction (bits/dim)", float(less.mean())),
        Number("reduction over its standard error", float(less.mean()) / error),
    ]


def dequantised(data: Path, count: int, draws: int, file: Path) -> list[Number]:
    """A trained dequantizer of the shipped VP prior, compared with uniform noise."""
    path = prior_path("ct-128-vp")
    prior, flow = load_prior(path), load_dequantizer(file, read_checkpoint(path).sha256)
    flat = DequantizationFlow(flow.levels, couplings=0)
    k = flow.levels.quantise(slices(data, count))
    trained, plain = (bound_bits(prior, k, draws, noise) for noise in (flow, flat))
    label = f"{count} slices, bound of Eq. B.41"
    return paired(f"trained dequantizer, {label}", f"uniform noise, {label}", trained, plain)


def against(data: Path, count: int, draws: int, file: Path) -> list[Number]:
    """Another prior, compared with the shipped VP prior on the same slices with the same draws."""
    x, zero = slices(data, count), torch.zeros(1)
    d, found = x[0].numel(), []
    for prior in (load_prior(file), load_prior(prior_path("ct-128-vp"))):
        bounds, flows = [], []
        for i in range(count):
            image = x[i : i + 1]
            bound = denoising_bound(prior, image, [i], draws) + correction(prior, image, [i], draws)
            bounds.append(float(BITS.bits_per_dim(bound.nats, zero, d)))
            flow = log_likelihood(prior, image, rademacher(image, [i], 1))
            flows.append(float(BITS.bits_per_dim(-flow.nats, zero, d)))
        found.append((bounds, flows))
    (bounds, flows), (their_bounds, their_flows) = found
    label = f"{count} slices, bound of Eq. B.41"
    return [
        *paired(f"{file.stem}, {label}", f"ct-128-vp, {label}", bounds, their_bounds),
        *paired(f"{file.stem}, flow", "ct-128-vp, flow", flows, their_flows),
    ]


def variances(
    prior: NetworkPrior, image: Tensor, seed: int, proposal: Proposal
) -> tuple[float, float, float]:
    """Variances of one draw of L^DSM in nats^2: with uniform times, with importance-sampled times
    (Eq. 9.12) and with times from a fitted proposal.

    They are integrated by the midpoint rule in v, in which Eq. 9.12 is uniform: a few random draws
    often underestimate the variance with uniform times, most of which comes from rare times.
    """
    sde, d = prior.sde, image[0].numel()
    edges = torch.linspace(0, 1, POINTS + 1, dtype=torch.float64)
    middle = ((edges[1:] + edges[:-1]) / 2).float()
    noise = Noise([derive_seed(seed, 5)])
    with torch.no_grad():
        h = torch.cat([likelihood_importance()(prior, image, v[None], noise(image))
                       for v in middle])  # fmt: skip
    h = 0.5 * d * (1 - sde.eps) * h.double()
    uniform_times = ImportanceTimes()(sde, edges).diff() * POINTS / (1 - sde.eps)
    bins = (middle * len(proposal.heights)).long()
    q = torch.tensor(proposal.heights, dtype=torch.float64)[bins]
    square = h.mean() ** 2
    found = [float((h**2 / p).mean() - square) for p in (uniform_times, torch.ones_like(q), q)]
    return found[0], found[1], found[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of development data")
    parser.add_argument("--slices", type=int, default=4, help="number of slices; 0 skips them")
    parser.add_argument(
        "--tolerance", type=float, default=1e-5, help="tolerance of the flow's solver"
    )
    parser.add_argument("--peer", type=Path, help="another prior of CT slices of 128 x 128")
    parser.add_argument("--dequantizer", type=Path, help="trained dequantizer of ct-128-vp")
    parser.add_argument(
        "--draws", type=int, default=100, help="draws of the bounds with --peer or --dequantizer"
    )
    parser.add_argument(
        "--trip", type=float, default=1e-8, help="tolerance of encoding and decoding; 0 skips them"
    )
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    args = parser.parse_args()
    found: list[Number] = []
    if args.peer is not None:
        found += against(args.data, args.slices, args.draws, args.peer)
    if args.dequantizer is not None:
        found += dequantised(args.data, args.slices, args.draws, args.dequantizer)
    if args.peer is None and args.dequantizer is None:
        found += shipped(args.data, args.slices, args.tolerance) if args.slices else []
        found += round_trip(args.data, args.trip) if args.trip else []
    print("\n".join(table(found)))
    return int(args.check and not all(n.met for n in found))


if __name__ == "__main__":
    sys.exit(main())
