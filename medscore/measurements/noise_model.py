"""Noise models by name."""

from __future__ import annotations

from collections.abc import Callable

from medscore.errors import MedscoreError
from medscore.operators.noise import GaussianNoise, Noiseless, NoiseModel, PoissonNoise

NOISES: dict[str, Callable[..., NoiseModel]] = {
    "gaussian": GaussianNoise,
    "poisson": PoissonNoise,
}
"""Noise models with their parameters: the standard deviation, or the photons per ray and perhaps
the standard deviation of the electronic noise in photons."""

MOST = {"gaussian": 1, "poisson": 2}
"""Largest number of parameters of each model."""

UNIFORM = "estimate:uniform"
"""One standard deviation for all rays, estimated from the data. With a model, as in
``estimate:uniform+poisson:1e5``, it is that of the errors which the model does not explain."""

USE = "use none, gaussian:0.01, poisson:1e5 or poisson:1e5,10"


def parts_of(text: str) -> tuple[str, str]:
    """A noise that is partly estimated: the estimate, or "", and the model, or "".

    Args:
        text: ``estimate:uniform``, a noise model, or both with a plus sign.
    """
    if text == UNIFORM or text.startswith(f"{UNIFORM}+"):
        return UNIFORM, text[len(UNIFORM) + 1 :]
    return "", text


def and_more(model: NoiseModel) -> str:
    """The name of a noise whose model does not explain all errors of the data.

    Args:
        model: Gaussian noise, or that of photons.
    """
    if isinstance(model, PoissonNoise):
        electronic = f",{model.electronic:.12g}" if model.electronic else ""
        return f"{UNIFORM}+poisson:{model.photons:.12g}{electronic}"
    if isinstance(model, GaussianNoise):
        return f"{UNIFORM}+gaussian:{model.std:.12g}"
    return UNIFORM


def noise_model(text: str) -> NoiseModel:
    """Build a noise model from its name and parameters.

    Args:
        text: ``none``, ``gaussian:STD``, ``poisson:PHOTONS`` or ``poisson:PHOTONS,ELECTRONIC``, the
            last of which is the standard deviation of the electronic noise in photons.

    Raises:
        MedscoreError: the name is unknown, the standard deviation or the number of photons is not a
            positive number, or the electronic noise is negative.
    """
    if not isinstance(text, str):
        raise MedscoreError(f"`noise` is {text!r}", hint=USE)
    if text == "none":
        return Noiseless()
    name, _, values = text.partition(":")
    try:
        first, *rest = (float(value) for value in values.split(","))
    except ValueError:
        first, rest = -1.0, []
    infinity = float("inf")
    fits = 0 < first < infinity and all(0 <= value < infinity for value in rest)
    if name not in NOISES or not fits or 1 + len(rest) > MOST[name]:
        raise MedscoreError(f"`noise` is {text!r}", hint=USE)
    return NOISES[name](first, *rest)
