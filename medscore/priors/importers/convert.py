"""Import of a foreign checkpoint: from its files and the user's contract to a prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from medscore.errors import MedscoreError
from medscore.io.files import check_new
from medscore.priors.checkpoint import save_prior
from medscore.priors.contract import DataContract
from medscore.priors.importers import diffusers, monai, ncsnpp
from medscore.priors.importers.contract import (
    ImportContract,
    ImportedNetwork,
    assemble,
    read_contract,
)
from medscore.priors.importers.read import Source, read_content, read_settings


class Importer(NamedTuple):
    """The checkpoints of one library.

    Attributes:
        recognises: whether a checkpoint is one of them.
        map_checkpoint: finds the network and the weights in one.
    """

    recognises: Callable[[Source], bool]
    map_checkpoint: Callable[[Source, ImportContract], ImportedNetwork]


KINDS: dict[str, Importer] = {
    "score-sde": Importer(ncsnpp.recognises, ncsnpp.map_checkpoint),
    "diffusers": Importer(diffusers.recognises, diffusers.map_checkpoint),
    "monai": Importer(monai.recognises, monai.map_checkpoint),
}


@dataclass(frozen=True)
class ImportResult:
    """An imported prior.

    Attributes:
        path: file of the prior.
        kind: kind of the checkpoint, a key of ``KINDS``.
        contract: what the prior's images are.
        weights: number of weights.
    """

    path: Path
    kind: str
    contract: DataContract
    weights: int


def import_prior(
    source: str | Path,
    output: str | Path,
    *,
    contract: str | Path,
    kind: str | None = None,
    config: str | Path | None = None,
) -> ImportResult:
    """Import a checkpoint of score_sde_pytorch, diffusers or MONAI as a prior.

    Weights are stored as by :meth:`medscore.io.weights.WeightsFile.save`: matrices and kernels in
    float16.

    Args:
        source: checkpoint file, or folder written by diffusers.
        output: file of the prior, NAME.safetensors; must not exist.
        contract: YAML file that describes the images (docs/import.md).
        kind: ``score-sde``, ``diffusers`` or ``monai``; by default recognised from the weights.
        config: JSON or YAML file with the constructor arguments of the network, if needed.

    Raises:
        MedscoreError: a file does not exist or is invalid, the checkpoint is not recognised or not
            supported, or it contradicts the contract.
    """
    target = Path(output)
    if target.suffix != ".safetensors":
        raise MedscoreError(
            "priors are safetensors files", where=target, hint="use a name ending in .safetensors"
        )
    check_new(target)
    if kind is not None and kind not in KINDS:
        raise MedscoreError(f"`kind` is {kind!r}", hint=f"use one of: {', '.join(KINDS)}")
    user = read_contract(Path(contract))
    found = _open(Path(source), None if config is None else Path(config))
    name = kind or _recognised(found)
    imported = KINDS[name].map_checkpoint(found, user)
    whole = assemble(user, imported, found, Path(contract))
    save_prior(target, whole, imported.weights)
    count = sum(weight.numel() for weight in imported.weights.values())
    return ImportResult(target, name, whole, count)


def _open(path: Path, config: Path | None) -> Source:
    """The checkpoint with its configuration, which in a folder is the folder's own."""
    if path.is_dir():
        if config is not None:
            raise MedscoreError(
                "not used with a folder, which has its own", where="`config`", hint="leave it out"
            )
        return diffusers.open_folder(path)
    return Source(path, read_content(path), None if config is None else read_settings(config))


def _recognised(source: Source) -> str:
    for name, importer in KINDS.items():
        if importer.recognises(source):
            return name
    raise MedscoreError(
        "not a checkpoint that can be imported",
        where=source.path,
        hint=f"set `kind` to one of {', '.join(KINDS)} to see what is missing",
    )
