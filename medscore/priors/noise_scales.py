"""Networks that take the number of a noise scale, and what they are conditioned on."""

from __future__ import annotations

from medscore.nets.spec import NetworkSpec


def check_levels(network: NetworkSpec, condition: str, levels: int) -> None:
    """Reject a network that takes the number of a noise scale with a condition that is another one.

    Args:
        network: parameters of the network.
        condition: time variable that the network receives.
        levels: number of noise scales of the condition ``level``.

    Raises:
        ValueError: the condition is another one, or of another number of scales.
    """
    own = getattr(network, "levels", None)
    if own is None:
        return
    if condition != "level":
        raise ValueError(
            f"network {getattr(network, 'kind', '')} takes the number of a noise scale: set "
            f"prediction to {{target: score, condition: level, levels: {own}}}"
        )
    if levels != own:
        raise ValueError(
            f"prediction.levels is {levels}, and network.levels {own}: set both to the same number"
        )
