"""What a score_sde_pytorch checkpoint says of SDE and prediction (Song et al. 2022, B.5.8).

==============  ==============  ===========================  ==========================
embedding       SDE             prediction                   who says the SDE
==============  ==============  ===========================  ==========================
Fourier         VE              scaled_score told log_sigma  the file: the ends of sigma
positions       VE, N scales    scaled_score told the level  the user, with those ends
positions       VP or sub-VP    noise told 999 t             the user
positions       DDPM's chain    noise told the level         the user
==============  ==============  ===========================  ==========================
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from medscore.errors import MedscoreError
from medscore.priors.contract import DDPMSpec, PredictionSpec, SDESpec, VESpec
from medscore.priors.importers import score_sde
from medscore.priors.importers.contract import ImportContract, Mapped, fitted
from medscore.priors.importers.read import Source

RANGES = {(0.0, 1.0): "unit", (-1.0, 1.0): "symmetric"}
"""Their ``data.centered``, false and true, which the file does not hold."""


def recognises(source: Source) -> bool:
    """Whether the file holds such a network."""
    return isinstance(source.content, Mapping) and score_sde.recognise(source.content) is not None


def mapped(source: Source, asked: ImportContract) -> Mapped:
    """The network, the averaged weights, and the SDE and prediction as far as they show.

    Raises:
        MedscoreError: another network, or an SDE that such a network was not trained on.
    """
    content = source.content if isinstance(source.content, Mapping) else {}
    spec = score_sde.recognise(content)
    if spec is None:
        raise MedscoreError(
            "no network of score_sde_pytorch that is known",
            where=source.path,
            hint="NCSN++, DDPM++ and DDPM of that repository can be mapped",
        )
    if source.config is not None:
        raise MedscoreError("these checkpoints take none", where="--config", hint="leave it out")
    if asked.network_range not in RANGES:
        raise MedscoreError(
            f"network_range {asked.network_range} is not one of that repository",
            where=source.path,
            hint="use [0, 1] where its config has data.centered = False, else [-1, 1]",
        )
    spec = spec.model_copy(update={"image_range": RANGES[asked.network_range]})
    try:
        weights = score_sde.weights(content, spec)
    except MedscoreError as error:
        raise MedscoreError(error.what, where=source.path, hint=error.hint) from None
    if spec.embedding == "fourier":
        sde, prediction = _fourier(content, asked, source)
    else:
        sde, prediction, weights = _positions(content, asked, source, weights)
    step = content.get("step", 0)
    steps = step if isinstance(step, int) and step > 0 else 0
    return Mapped(spec, fitted(spec, weights, source.path), sde, prediction, steps)


def _fourier(
    content: score_sde.Content, asked: ImportContract, source: Source
) -> tuple[SDESpec | None, PredictionSpec]:
    if asked.sde is not None and not isinstance(asked.sde, VESpec):
        raise MedscoreError(
            f"the network has the Fourier features of a VE SDE, the contract's sde is "
            f"{asked.sde.kind}",
            where=source.path,
            hint="leave sde out of the contract, or use {kind: ve, sigma_min: ..., sigma_max: ...}",
        )
    scales = score_sde.noise_scales(content)
    prediction = PredictionSpec(target="scaled_score", condition="log_sigma")
    return (_ve(scales) if scales else None), prediction


def _positions(
    content: score_sde.Content, asked: ImportContract, source: Source, weights: dict[str, Tensor]
) -> tuple[SDESpec | None, PredictionSpec, dict[str, Tensor]]:
    """As the user's SDE has it; on VE with the weights that count from the least noise."""
    sde = asked.sde
    if isinstance(sde, VESpec):
        scales = score_sde.noise_scales(content)
        if scales is None:
            raise MedscoreError(
                "the file lacks `sigmas`, how many noise scales the network was trained on",
                where=source.path,
                hint="give the checkpoint that the training wrote",
            )
        told = PredictionSpec(target="scaled_score", condition="level", levels=scales[2])
        return _ve(scales), told, score_sde.count_from_least_noise(weights, scales[2])
    if isinstance(sde, DDPMSpec):
        told = PredictionSpec(target="noise", condition="level", levels=sde.scales)
        return None, told, weights
    return None, PredictionSpec(target="noise", condition="time"), weights


def _ve(scales: tuple[float, float, int]) -> VESpec:
    low, high = (float(f"{sigma:.6g}") for sigma in scales[:2])  # stored in single precision
    return VESpec(sigma_min=low, sigma_max=high)
