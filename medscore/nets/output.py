"""The prediction in what a network returns, which is a tensor or an object that holds one."""

from __future__ import annotations

from torch import Tensor

from medscore.errors import MedscoreError


def output_of(output: object) -> Tensor:
    """The prediction in a network's output, which is a tensor or has the attribute ``sample``.

    Args:
        output: what the network returned.

    Raises:
        MedscoreError: neither.
    """
    found = output if isinstance(output, Tensor) else getattr(output, "sample", None)
    if not isinstance(found, Tensor):
        raise MedscoreError(
            f"the network returned {type(output).__name__}, expected a tensor like its input",
            hint="wrap the network in a module that returns the tensor",
        )
    return found
