"""Checks of common parameters: ranges, precision and device."""

from __future__ import annotations

from medscore.errors import MedscoreError
from medscore.numeric import is_number, is_whole


def check_ranges(*options: tuple[str, int | float, int | float, int | float]) -> None:
    """Reject numbers that are out of range.

    Args:
        options: name of each parameter, its value, the smallest and the largest allowed value.

    Raises:
        MedscoreError: a value out of range; the message names the parameter.
    """
    for name, value, low, high in options:
        if not is_number(value) or not low <= value <= high:  # NaN too
            raise MedscoreError(f"`{name}` is {value!r}", hint=f"use {low} to {high}")


def check_counts(*options: tuple[str, int, int, int]) -> None:
    """Reject values that are not whole numbers, or out of range.

    Args:
        options: name of each parameter, its value, the smallest and the largest allowed value.

    Raises:
        MedscoreError: an invalid value; the message names the parameter.
    """
    for name, value, low, high in options:
        if not is_whole(value):
            raise MedscoreError(
                f"`{name}` is {value!r}", hint=f"use a whole number from {low} to {high}"
            )
    check_ranges(*options)


def check_precision(precision: str) -> None:
    """Reject an unknown precision.

    Args:
        precision: float32, bf16 for autocast of the network, or auto for the better one.

    Raises:
        MedscoreError: it is none of them.
    """
    if precision not in ("auto", "float32", "bf16"):
        raise MedscoreError(f"`precision` is {precision!r}", hint="use auto, float32 or bf16")


def resolve_device(name: str) -> str:
    """The device with a given name.

    Args:
        name: cpu, cuda, or ``auto`` for a GPU if there is one.

    Raises:
        MedscoreError: the device is not available.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if torch.device(name).type not in ("cpu", "cuda"):
            raise RuntimeError("another kind of device")
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise MedscoreError(
            f"`device` {name} is not available here", hint="use auto or cpu"
        ) from error
    return name
