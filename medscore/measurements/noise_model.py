"""Noise models by name."""

from __future__ import annotations

from collections.abc import Callable

from medscore.errors import MedscoreError
from medscore.operators.noise import GaussianNoise, Noiseless, NoiseModel, PoissonNoise

NOISES: dict[str, Callable[[float], NoiseModel]] = {
    "gaussian": GaussianNoise,
    "poisson": PoissonNoise,
}
"""Noise models with one parameter: the standard deviation, or the photons per ray."""


def noise_model(text: str) -> NoiseModel:
    """Build a noise model from its name and parameter.

    Args:
        text: ``none``, ``gaussian:STD`` or ``poisson:PHOTONS``.

    Raises:
        MedscoreError: the name is unknown, or the parameter is not a positive number.
    """
    if not isinstance(text, str):
        raise MedscoreError(f"`noise` is {text!r}", hint="use none, gaussian:0.01 or poisson:1e5")
    if text == "none":
        return Noiseless()
    name, _, value = text.partition(":")
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if name not in NOISES or not 0 < number < float("inf"):
        raise MedscoreError(f"`noise` is {text!r}", hint="use none, gaussian:0.01 or poisson:1e5")
    return NOISES[name](number)
