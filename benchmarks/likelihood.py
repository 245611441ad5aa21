"""Likelihoods of the shipped VP prior.

    python benchmarks/likelihood.py            # about 15 minutes on 2 cores
    python benchmarks/likelihood.py --check    # exit 1 when a number is missed

On slices of validation patients: bits per dimension by the probability flow and by the bound of Eq.
B.41, the variance of the bound with importance-sampled times against uniform ones, and, of one
slice in float64, encoding followed by decoding. With --peer, bits per dimension of another prior on
the same slices; with --dequantizer, those with trained noise within the grey levels against uniform
noise. Without --data's slices, heads that ship with pydicom stand in.
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
POINTS = 256


def slices(data: Path, count: int) -> Tensor:
    """Dequantised CT slices (count, 1, 128, 128) of 8 bits."""
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
    """The shipped VP prior on slices."""
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
        Number("bound of Eq. B.41 (bits/dim)", sum(bounds) / n),
        Number("bound minus flow (bits/dim)", gap),
        Number("variance of the bound, uniform times over those of Eq. 9.12",
               plain / importance, at_least=10),
        Number("variance of the bound, uniform times over those of a fitted proposal",
               plain / fitted, at_least=10),
    ]  # fmt: skip


def round_trip(data: Path, tolerance: float) -> list[Number]:
    """Encoding one slice, then decoding it."""
    prior, x = load_prior(prior_path("ct-128-vp")).double(), slices(data, 4)[:1].double()
    there, back = Counted(prior), Counted(prior)
    code = encode(there, x, rtol=tolerance, atol=tolerance)
    image = decode(back, code, rtol=tolerance, atol=tolerance)
    return [
        Number(f"one slice in float64, tolerance {tolerance:g}: NFE of encoding", there.nfe),
        Number("NFE of decoding", back.nfe),
        Number("encode, then decode: largest difference", float((image - x).abs().max()),
               at_most=1e-3),
    ]  # fmt: skip


def bound_bits(
    prior: NetworkPrior, k: Tensor, draws: int, noise: DequantizationFlow
) -> list[float]:
    """Bits per dimension of grey levels by the bound of Eq. B.41, with ``noise`` within them."""
    seeds = range(len(k))
    x, log_q = noise.dequantise(k, [derive_seed(seed, 2) for seed in seeds])
    bound = denoising_bound(prior, x, seeds, draws) + correction(prior, x, seeds, draws)
    bits: list[float] = noise.levels.bits_per_dim(bound.nats, log_q, k[0].numel()).tolist()
    return bits


def paired(label: str, ours: list[float], theirs: list[float]) -> list[Number]:
    """Two means, and by how much the first is lower."""
    less = torch.tensor(theirs) - torch.tensor(ours)
    error = float(less.std()) / len(less) ** 0.5
    return [
        Number(f"{label} (bits/dim)", float(torch.tensor(ours).mean())),
        Number("the peer's (bits/dim)", float(torch.tensor(theirs).mean())),
        Number("less than the peer's, bits/dim", float(less.mean())),
        Number("the same over its standard error", float(less.mean()) / error),
    ]


def dequantised(data: Path, count: int, draws: int, file: Path) -> list[Number]:
    """A trained dequantizer of the shipped VP prior; its peer is uniform noise."""
    path = prior_path("ct-128-vp")
    prior, flow = load_prior(path), load_dequantizer(file, read_checkpoint(path).sha256)
    flat = DequantizationFlow(flow.levels, couplings=0)
    k = flow.levels.quantise(slices(data, count))
    trained, plain = (bound_bits(prior, k, draws, noise) for noise in (flow, flat))
    return paired(f"trained dequantizer, {count} slices, bound of Eq. B.41", trained, plain)


def against(data: Path, count: int, draws: int, file: Path) -> list[Number]:
    """Another prior; its peer is the shipped VP prior, on the same slices, with the same draws."""
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
    return [*paired(f"{file.stem}, {count} slices, bound of Eq. B.41", bounds, their_bounds),
            *paired(f"{file.stem}, flow", flows, their_flows)]  # fmt: skip


def variances(
    prior: NetworkPrior, image: Tensor, seed: int, proposal: Proposal
) -> tuple[float, float, float]:
    """Of one draw of L^DSM, in nats squared: with uniform times, with those of Eq. 9.12, and with
    fitted ones; by the midpoint rule in v, over which Eq. 9.12 is uniform. (Few draws do not show
    the variance with uniform times: most of it is in times that they hardly hit.)
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
    parser.add_argument("--slices", type=int, default=4, help="0 to skip them")
    parser.add_argument("--tolerance", type=float, default=1e-5, help="of the solver")
    parser.add_argument("--peer", type=Path, help="another prior of CT slices of 128 x 128")
    parser.add_argument("--dequantizer", type=Path, help="of ct-128-vp")
    parser.add_argument("--draws", type=int, default=100, help="of those two's bounds")
    parser.add_argument(
        "--trip", type=float, default=1e-8, help="tolerance of the round trip; 0 to skip it"
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when a number is missed")
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
