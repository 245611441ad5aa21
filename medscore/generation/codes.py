"""Latent codes of images: the file that holds them, comparison and interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.generation.latent import Agreement, slerp
from medscore.io.files import atomic_path
from medscore.io.numpy_files import open_npz
from medscore.priors.contract import DataContract, SDESpec


@dataclass(frozen=True)
class Codes:
    """Latent codes of images under a prior.

    Attributes:
        code: (n, channel, H, W) on the CPU.
        names: source file, without its folders, and position in it, for each image.
        labels: what the file of codes calls each image: the start of its file's hash, and its
            position in it.
        prior_sha256: hash of the prior's weights.
        sde: SDE of the prior, as JSON.
        nfe: network evaluations per image; the mean, rounded up.
        agreement: how closely the codes of another prior agree; None without one.
    """

    code: Tensor
    names: tuple[str, ...]
    labels: tuple[str, ...]
    prior_sha256: str
    sde: str
    nfe: int
    agreement: Agreement | None = None


def sde_json(contract: DataContract) -> str:
    """The SDE of a prior as JSON, as files of codes store it.

    Args:
        contract: data contract of the prior.
    """
    return contract.sde.model_dump_json()


def check_same_latents(contract: DataContract, other: DataContract) -> None:
    """Reject priors whose latent codes cannot be compared.

    Args:
        contract: data contract of one prior.
        other: data contract of the other.

    Raises:
        MedscoreError: image size, number of channels or SDE differ.
    """
    shape, its = ((c.channels, c.at().side, sde_json(c)) for c in (contract, other))
    if shape != its:
        raise MedscoreError(
            f"prior {other.name} is for images {its}, prior {contract.name} for images {shape}",
            hint="compare priors of the same image size, channels and SDE",
        )


def write_codes(
    codes: Codes, file: Path, states: Sequence[Path] = (), *, keep_identity: bool = False
) -> None:
    """Write codes to a NumPy archive, atomically.

    Args:
        codes: the codes.
        file: the archive (.npz) with ``code``, ``image`` (labels), ``prior`` (hash), ``sde`` and
            ``nfe``.
        states: saved states of the run, which are removed afterwards.
        keep_identity: whether it states the names of the files too, as ``name``.
    """
    names = {"name": np.array(codes.names)} if keep_identity else {}
    with atomic_path(file, states) as unfinished, unfinished.open("wb") as stream:
        np.savez_compressed(
            stream, allow_pickle=False, code=codes.code.numpy(), image=np.array(codes.labels),
            prior=np.array(codes.prior_sha256), sde=np.array(codes.sde), nfe=np.array(codes.nfe),
            **names,
        )  # fmt: skip


def read_codes(file: Path, contract: DataContract) -> tuple[Tensor, str]:
    """Codes (n, channel, H, W) in float64, and the hash of the prior that encoded them.

    Args:
        file: an archive of :func:`write_codes`.
        contract: data contract of the prior that decodes them.

    Raises:
        MedscoreError: the file holds no codes, or codes of another image size or SDE.
    """
    shape = (contract.channels, contract.side, contract.side)
    hint = "use a file written by `medscore encode`, and the prior that encoded it"
    with open_npz(file, "codes of this prior", hint) as archive:
        code, sha256 = torch.from_numpy(archive["code"]), str(archive["prior"])
        sde = str(archive["sde"])
        if code.shape[1:] != shape or not len(code) or not bool(code.isfinite().all()):
            raise ValueError(
                f"an array of shape {tuple(code.shape)} with {shape} expected, or NaN values"
            )
        if TypeAdapter(SDESpec).validate_json(sde) != contract.sde:
            raise ValueError(
                f"the codes are on {sde}, prior {contract.name} is on {sde_json(contract)}"
            )
    return code.double(), sha256


def between_codes(code: Tensor, between: int, file: Path) -> Tensor:
    """Spherical interpolation between consecutive codes, ((n - 1) * between, channel, H, W).

    Args:
        code: (n, channel, H, W).
        between: codes from each one to the next, both ends included.
        file: the source of the codes, for error messages.

    Raises:
        MedscoreError: fewer than two codes, or ``between`` below 2.
    """
    if len(code) < 2 or between < 2:
        raise MedscoreError(
            f"`between` is {between} with {len(code)} code(s)", where=file,
            hint="interpolation needs two codes or more, and 2 or more images between them",
        )  # fmt: skip
    weights = [k / (between - 1) for k in range(between)]
    return torch.cat(
        [slerp(code[i : i + 1], code[i + 1 : i + 2], w) for i in range(len(code) - 1)
         for w in weights]
    )  # fmt: skip
