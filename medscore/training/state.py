"""The state of a training run on disk: safetensors, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from medscore.errors import MedscoreError
from medscore.io.files import atomic_write


def save_state(
    path: Path,
    step: int,
    network: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    identity: dict[str, str],
) -> None:
    """Write the step reached, weights, their average and the optimiser's memory.

    Args:
        identity: what the run is of (recipe, data, ...), by name; see :func:`load_state`.
    """
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for index, slots in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{slot}": value for slot, value in slots.items()}
    # a momentum that was never used is stored by SGD as None
    cpu = {k: v.detach().cpu().contiguous() for k, v in tensors.items() if v is not None}
    atomic_write(path, save(cpu, metadata={"step": str(step), "identity": json.dumps(identity)}))


def load_state(
    path: Path,
    network: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    identity: dict[str, str],
) -> int:
    """Restore what :func:`save_state` wrote, in place, and return the step reached.

    Raises:
        MedscoreError: not a training state, of another network, or of a run that differs in
            ``identity``, which is named.
    """
    step, theirs, tensors = _read(path)
    for name, ours in identity.items():
        if theirs.get(name) != ours:
            raise MedscoreError(
                f"the saved state is of another run: {name} {theirs.get(name)}, here {ours}",
                where=path,
                hint="use a new output folder, or the recipe and data it was started with",
            )
    groups: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        groups.setdefault(kind, {})[rest] = tensor
    try:
        network.load_state_dict(groups["network"])
        average.load_state_dict(groups["average"])
        slots: dict[int, dict[str, Tensor]] = {}
        weights = list(network.parameters())
        for name, value in groups["optimiser"].items():
            index, slot = name.split(".")
            like = weights[int(index)]
            # a fused optimiser walks weights and memory side by side, in the order they lie in
            laid = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
            slots.setdefault(int(index), {})[slot] = laid
        full = optimiser.state_dict()
        optimiser.load_state_dict({"state": slots, "param_groups": full["param_groups"]})
    except (RuntimeError, KeyError, IndexError, ValueError) as error:
        raise MedscoreError(
            f"the saved state is of another network ({str(error).splitlines()[0]})",
            where=path,
            hint="use a new output folder",
        ) from error
    return step


def averaged_weights(folder: Path) -> tuple[int, dict[str, Tensor]]:
    """The step reached and the averaged weights stored in a training folder.

    Raises:
        MedscoreError: there is no readable state.
    """
    step, _, tensors = _read(folder / "state.safetensors")
    prefix = "average."
    return step, {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _read(path: Path) -> tuple[int, dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            step, identity = int(header["step"]), json.loads(header["identity"])
            return step, identity, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise MedscoreError(
            f"not a training state ({error})", where=path, hint="remove it to start afresh"
        ) from error
