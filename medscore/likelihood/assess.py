"""What ``medscore likelihood`` computes of each image, and how far an interrupted run had come."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.io.files import atomic_write
from medscore.likelihood.bound import correction, denoising_bound
from medscore.likelihood.dequantization import DequantizationFlow
from medscore.likelihood.dequantizer import load_dequantizer
from medscore.likelihood.divergence import exact, gaussian, rademacher
from medscore.likelihood.flow import log_likelihood
from medscore.objectives.grey_levels import Levels
from medscore.priors.network import NetworkPrior
from medscore.registry.checks import check_ranges
from medscore.white_noise import derive_seed

SMALL = 256
"""Numbers in an image up to which the divergence is exact by default."""

DIVERGENCES = ("auto", "exact", "rademacher", "gaussian")
METHODS = {
    "flow": "p of the SDE's time eps, at the image",
    "bound": "p of the SDE's time eps, on average over the image's noise there, bounded from below",
    "clean-bound": "of the clean image, bounded from below",
}
"""Whose density they say."""


@dataclass(frozen=True)
class Asked:
    """What is computed of each image, as the options of the command."""

    method: str
    divergence: str
    probes: int
    draws: int
    bits: int | None
    rtol: float
    atol: float
    seed: int

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            MedscoreError: naming the option.
        """
        for name, value, known in (
            ("--method", self.method, METHODS),
            ("--divergence", self.divergence, DIVERGENCES),
        ):
            if value not in known:
                raise MedscoreError(f"{name} {value!r}", hint=f"use one of: {', '.join(known)}")
        check_ranges(
            ("--probes", self.probes, 1, 10_000),
            ("--draws", self.draws, 1, 1_000_000),
            ("--bits", 8 if self.bits is None else self.bits, 1, 16),
            ("--rtol", self.rtol, 1e-12, 1),
            ("--atol", self.atol, 1e-12, 1),
            ("--seed", self.seed, 0, 2**63 - 1),
        )


@dataclass(frozen=True)
class Row:
    """One slice: log p(x) / D in nats of the prior's range, and what follows from it.

    Attributes:
        typical: what z is made of, where it is wanted.
    """

    nats_per_dim: float
    standard_error: float
    bits_per_dim: float | None
    nfe: int
    seconds: float
    typical: float | None = None


def assess(
    prior: NetworkPrior, x: Tensor, asked: Asked, noise: DequantizationFlow | None, seed: int
) -> Row:
    """One image (1, channel, H, W) in the prior's range; ``noise`` is that within grey levels."""
    begin, d = time.perf_counter(), x[0].numel()
    log_q = torch.zeros(1)
    if noise is not None:
        noise = noise.to(x.device)
        k = noise.levels.quantise(x)
        x, log_q = noise.dequantise(k, [derive_seed(seed, 2)])
    if asked.method == "flow":
        flow = log_likelihood(
            prior, x, _divergence(asked, d)(x, [seed]), rtol=asked.rtol, atol=asked.atol
        )
        minus, error, nfe = -flow.nats, flow.standard_error, flow.nfe
    else:
        bound = denoising_bound(prior, x, [seed], asked.draws)
        nfe = asked.draws
        if asked.method == "clean-bound":
            bound = bound + correction(prior, x, [seed], asked.draws)
            nfe *= 2
        minus, error = bound.nats, bound.standard_error
    bits = None if noise is None else float(noise.levels.bits_per_dim(minus.cpu(), log_q.cpu(), d))
    return Row(-float(minus) / d, float(error) / d, bits, nfe, time.perf_counter() - begin)


def noise_of(asked: Asked, file: Path | None, sha256: str) -> DequantizationFlow | None:
    """Of --bits or --dequantizer; a new flow is uniform.

    Raises:
        MedscoreError: both, or what does not bound the probability of levels.
    """
    if asked.method == "bound" and (asked.bits is not None or file is not None):
        raise MedscoreError(
            "--method bound bounds the likelihood of the image with noise, not that of grey levels",
            hint="use --method clean-bound or flow",
        )
    if file is None:
        return None if asked.bits is None else DequantizationFlow(Levels(asked.bits), couplings=0)
    if asked.bits is not None:
        raise MedscoreError("--bits beside --dequantizer", hint="leave out --bits: it has its own")
    return load_dequantizer(file, sha256)


def _divergence(asked: Asked, d: int) -> Callable[..., Callable[..., tuple[Tensor, Tensor]]]:
    kind = asked.divergence
    if kind == "exact" or (kind == "auto" and d <= SMALL):
        return lambda like, seeds: exact
    draw = gaussian if kind == "gaussian" else rademacher
    return lambda like, seeds: draw(like, seeds, asked.probes)


@dataclass(frozen=True)
class Kept:
    """Finished rows in a file, for a run that goes on.

    Attributes:
        file: that is there while the run is not done. fingerprint: of the run.
    """

    file: Path
    fingerprint: str

    def load(self) -> list[Row]:
        """Those of an interrupted run; none where there was none.

        Raises:
            MedscoreError: the file is broken or of another run.
        """
        if not self.file.is_file():
            return []
        try:
            content = json.loads(self.file.read_text())
            its, rows = content["fingerprint"], [Row(**row) for row in content["rows"]]
        except (ValueError, KeyError, TypeError) as error:
            raise MedscoreError(
                f"is no state of an interrupted run ({error})", where=self.file, hint="remove it"
            ) from error
        if its != self.fingerprint:
            raise MedscoreError(
                "is the state of another run", where=self.file,
                hint="repeat that run's command, or remove it",
            )  # fmt: skip
        return rows

    def save(self, rows: list[Row]) -> None:
        """Atomically."""
        content = {"fingerprint": self.fingerprint, "rows": [asdict(row) for row in rows]}
        atomic_write(self.file, json.dumps(content).encode())
