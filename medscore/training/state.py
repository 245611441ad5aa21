"""The state of a training run on disk: a safetensors file, replaced atomically."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from medscore.errors import MedscoreError
from medscore.io.files import atomic_write
from medscore.io.json_files import parse_object
from medscore.io.opening import regular_file
from medscore.io.weights import check_finite
from medscore.training.monitor import NOTHING, Memory


def save_state(
    path: Path,
    step: int,
    network: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    identity: dict[str, str],
    memory: Memory = NOTHING,
) -> None:
    """Write the last step, the weights, their moving average and the state of the optimiser.

    Args:
        path: file to write.
        step: number of the last finished step.
        network: the trained network.
        average: the network with the averaged weights.
        optimiser: its state is saved.
        identity: identifies the run (recipe, data, ...), by name; see :func:`load_state`.
        memory: what the monitor of the run remembers.

    Raises:
        MedscoreError: a number is NaN or infinite; nothing is written.
    """
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for index, slots in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{slot}": value for slot, value in slots.items()}
    # SGD stores None for a momentum that is not used
    cpu = {k: v.detach().cpu().contiguous() for k, v in tensors.items() if v is not None}
    check_finite(cpu, path, "lower `learning_rate`; the state saved before is intact")
    header = {
        "step": str(step),
        "identity": json.dumps(identity),
        "monitor": json.dumps(memory),
    }
    atomic_write(path, save(cpu, metadata=header))


def load_state(
    path: Path,
    network: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    identity: dict[str, str],
) -> tuple[int, Memory]:
    """Restore a state in place.

    Args:
        path: file that :func:`save_state` wrote.
        network: receives the weights.
        average: receives the averaged weights.
        optimiser: receives its state.
        identity: entries that the saved state must have too.

    Returns:
        The number of the last finished step, and what the monitor of the run remembered.

    Raises:
        MedscoreError: the file is not a training state, holds numbers that are NaN or infinite,
            belongs to another network, or to a run with another ``identity``; the message names the
            first entry that differs.
    """
    step, theirs, memory, tensors = _read(path)
    for name, ours in identity.items():
        if theirs.get(name) != ours:
            raise MedscoreError(
                f"the saved state is from another run: {name} {theirs.get(name)}, here {ours}",
                where=path,
                hint="use a new output folder, or the same recipe and data as before",
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
            if value.shape not in (like.shape, torch.Size([])):
                raise ValueError(f"optimiser.{name} has shape {tuple(value.shape)}")
            # a fused optimiser needs its state in the memory layout of the weights
            same = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
            slots.setdefault(int(index), {})[slot] = same
        if len({frozenset(found) for found in slots.values()}) > 1:
            raise ValueError("a part of the optimiser's state is missing")
        full = optimiser.state_dict()
        optimiser.load_state_dict({"state": slots, "param_groups": full["param_groups"]})
    except (RuntimeError, KeyError, IndexError, ValueError) as error:
        raise MedscoreError(
            f"the saved state is from another network ({str(error).splitlines()[0]})",
            where=path,
            hint="use a new output folder",
        ) from error
    return step, memory


def averaged_weights(folder: Path) -> tuple[int, dict[str, Tensor]]:
    """The averaged weights in the output folder of a training run.

    Args:
        folder: output folder of the run.

    Returns:
        The number of the last finished step, and the weights by name.

    Raises:
        MedscoreError: the folder holds no readable state.
    """
    step, _, _, tensors = _read(folder / "state.safetensors")
    prefix = "average."
    return step, {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _read(path: Path) -> tuple[int, dict[str, str], Memory, dict[str, Tensor]]:
    try:
        with safe_open(regular_file(path), framework="pt") as file:
            header = file.metadata() or {}
            step, identity = int(header["step"]), parse_object(header["identity"])
            memory = _memory(header)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise MedscoreError(
            f"not a training state ({error})", where=path, hint="remove the file to start again"
        ) from error
    check_finite(tensors, path, "remove the file, and train again with a lower `learning_rate`")
    return step, identity, memory, tensors


def _memory(header: dict[str, str]) -> Memory:
    """What the monitor remembered; nothing in a state of an earlier version."""
    if "monitor" not in header:
        return NOTHING
    found = parse_object(header["monitor"], finite=False)
    losses = [float(loss) for loss in found["losses"]]
    return {"losses": losses, "mean_norm": float(found["mean_norm"])}
