"""Checks that several settings share: ranges, precision, device."""

from __future__ import annotations

import torch

from medscore.errors import MedscoreError


def check_ranges(*options: tuple[str, int | float, int | float, int | float]) -> None:
    """Refuse numbers out of range.

    Args:
        options: name, value, the least and the largest that can be.

    Raises:
        MedscoreError: naming the option.
    """
    for name, value, low, high in options:
        if not low <= value <= high:  # NaN too
            raise MedscoreError(f"{name} is {value}", hint=f"use {low} to {high}")


def check_precision(precision: str) -> None:
    """Refuse another ``--precision`` than there is.

    Raises:
        MedscoreError: it is neither float32 nor bf16.
    """
    if precision not in ("float32", "bf16"):
        raise MedscoreError(f"--precision {precision}", hint="use float32 or bf16")


def resolve_device(name: str) -> str:
    """``auto``, or a device that PyTorch has here.

    Raises:
        MedscoreError: there is no such device.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if torch.device(name).type not in ("cpu", "cuda"):
            raise RuntimeError("another kind of device")
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise MedscoreError(
            f"--device {name} is not available here", hint="use auto or cpu"
        ) from error
    return name
