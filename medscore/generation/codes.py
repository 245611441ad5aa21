"""Encode and decode many images by the probability flow ODE, one at a time and resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor

import medscore
from medscore.engine.loop import StepInfo
from medscore.engine.resume import Progress, load_progress, save_progress
from medscore.errors import MedscoreError, reading
from medscore.generation.latent import slerp
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior
from medscore.priors.contract import DataContract, SDESpec
from medscore.priors.counted import Counted
from medscore.registry.checks import check_ranges


@dataclass(frozen=True)
class Flow:
    """How the flow is solved."""

    tolerance: float
    precision: str

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            MedscoreError: naming the option.
        """
        check_ranges(("--tolerance", self.tolerance, 1e-12, 1))
        if self.precision not in ("float32", "float64"):
            raise MedscoreError(
                f"--precision {self.precision}", hint="use float32 or float64"
            )  # fmt: skip

    @property
    def dtype(self) -> torch.dtype:
        """Of network and images."""
        return torch.float64 if self.precision == "float64" else torch.float32


@dataclass(frozen=True)
class Run:
    """One image after the other, each kept as soon as it is there.

    Attributes:
        output: what the command writes; what is kept lies beside it.
    """

    flow: Flow
    device: str
    output: Path

    def each(
        self,
        solve: Callable[..., Tensor],
        title: str,
        prior: str,
        sha256: str,
        x: Tensor,
        on_step: Callable[[StepInfo], None] = lambda info: None,
    ) -> tuple[Tensor, int]:
        """``encode`` or ``decode`` of every image or code under a prior, whose weights have that
        hash; on the CPU, and the mean NFE.
        """
        network = load_prior(prior_path(prior), device=self.device).to(self.flow.dtype)
        content = hashlib.sha256(x.numpy().tobytes()).hexdigest()
        tolerance = self.flow.tolerance
        fingerprint = json.dumps([medscore.__version__, sha256, asdict(self.flow), content])
        progress = load_progress(self._state(title), fingerprint)

        def tell(done: int, nfe: int) -> None:
            on_step(StepInfo(done, len(x), nfe))

        for i in range(len(progress.done), len(x)):
            counted = Counted(network, tell=partial(tell, i))
            one = x[i : i + 1].to(self.device, self.flow.dtype)
            found = solve(counted, one, rtol=tolerance, atol=tolerance).cpu()
            spent = progress.evaluations + counted.nfe
            progress = Progress((*progress.done, found), evaluations=spent)
            save_progress(self._state(title), fingerprint, progress)
            tell(i + 1, counted.nfe)
        return torch.cat(progress.done), -(-progress.evaluations // len(x))

    def forget(self, *titles: str) -> None:
        """What was kept."""
        for title in titles:
            self._state(title).unlink(missing_ok=True)

    def _state(self, title: str) -> Path:
        return self.output.parent / f".{self.output.name}.{title}.resume.safetensors"


def sde_json(contract: DataContract) -> str:
    """The SDE of a prior as JSON, as files of codes store it."""
    return contract.sde.model_dump_json()


def check_same_latents(contract: DataContract, other: DataContract) -> None:
    """Refuse priors whose latent codes cannot be compared.

    Raises:
        MedscoreError: another image size, number of channels or SDE.
    """
    shape, its = ((c.channels, c.size, sde_json(c)) for c in (contract, other))
    if shape != its:
        raise MedscoreError(
            f"prior {other.name} is of images {its}, {contract.name} of {shape}",
            hint="codes compare where size, channels and SDE are the same",
        )


def read_codes(file: Path, contract: DataContract) -> tuple[Tensor, str]:
    """Codes (n, channel, H, W), and the hash of the prior that they are of."""
    shape = (contract.channels, contract.size, contract.size)
    with (
        reading("codes of this prior", file, "use a file of `medscore encode`, and its prior"),
        np.load(file, allow_pickle=False) as archive,
    ):
        code, sha256 = torch.from_numpy(archive["code"]), str(archive["prior"])
        sde = str(archive["sde"])
        if code.shape[1:] != shape or not len(code) or not bool(code.isfinite().all()):
            raise ValueError(
                f"an array of shape {tuple(code.shape)}, {shape} each expected, or NaN"
            )
        if TypeAdapter(SDESpec).validate_json(sde) != contract.sde:
            raise ValueError(f"codes on {sde}, prior {contract.name} is on {sde_json(contract)}")
    return code.double(), sha256


def between_codes(code: Tensor, count: int, file: Path) -> Tensor:
    """``count`` codes on the way from each to the next, along the sphere."""
    if len(code) < 2 or count < 2:
        raise MedscoreError(
            f"--between {count} with {len(code)} code(s)", where=file,
            hint="two codes or more and at least their two ends are needed",
        )  # fmt: skip
    weights = [k / (count - 1) for k in range(count)]
    return torch.cat(
        [slerp(code[i : i + 1], code[i + 1 : i + 2], w) for i in range(len(code) - 1)
         for w in weights]
    )  # fmt: skip
