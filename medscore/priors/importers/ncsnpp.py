"""Checkpoints of score_sde_pytorch: network, SDE and prediction (Song et al. 2022, B.5.8).

==========  ============  ============  =========  =======================================
embedding   SDE           target        condition  the SDE is defined by
==========  ============  ============  =========  =======================================
Fourier     VE            scaled_score  log_sigma  the file (smallest and largest sigma)
positional  VE, N scales  scaled_score  level      the user, in agreement with the file
positional  VP or sub-VP  noise         time       the user
positional  DDPM          noise         level      the user
==========  ============  ============  =========  =======================================
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from medscore.errors import MedscoreError
from medscore.priors.contract import DDPMSpec, PredictionSpec, SDESpec, VESpec
from medscore.priors.importers import score_sde
from medscore.priors.importers.contract import ImportContract, ImportedNetwork, fitted
from medscore.priors.importers.read import Source

RANGES = {(0.0, 1.0): "unit", (-1.0, 1.0): "symmetric"}
"""The image range for ``data.centered`` false and true, which the file does not hold."""


def recognises(source: Source) -> bool:
    """True if a checkpoint holds such a network.

    Args:
        source: the checkpoint.
    """
    return isinstance(source.content, Mapping) and score_sde.recognise(source.content) is not None


def map_checkpoint(source: Source, contract: ImportContract) -> ImportedNetwork:
    """The network, its averaged weights, the prediction and, if the file defines it, the SDE.

    Args:
        source: the checkpoint.
        contract: the user's contract.

    Raises:
        MedscoreError: the network is not one of score_sde_pytorch, or cannot have been trained on
            the SDE or the range of the contract.
    """
    content = source.content if isinstance(source.content, Mapping) else {}
    spec = score_sde.recognise(content)
    if spec is None:
        raise MedscoreError(
            "no known network of score_sde_pytorch",
            where=source.path,
            hint="only NCSN++, DDPM++ and DDPM of that repository can be imported",
        )
    if source.config is not None:
        raise MedscoreError(
            "not used for checkpoints of score_sde_pytorch", where="`config`", hint="leave it out"
        )
    if contract.network_range not in RANGES:
        raise MedscoreError(
            f"network_range {contract.network_range} does not occur in score_sde_pytorch",
            where=source.path,
            hint="use [0, 1] if its configuration has data.centered = False, else [-1, 1]",
        )
    spec = spec.model_copy(update={"image_range": RANGES[contract.network_range]})
    try:
        weights = score_sde.weights(content, spec)
    except MedscoreError as error:
        raise MedscoreError(error.what, where=source.path, hint=error.hint) from None
    if spec.embedding == "fourier":
        sde, prediction = _fourier(content, contract, source)
    else:
        sde, prediction, weights = _positional(content, contract, source, weights)
    step = content.get("step", 0)
    steps = step if isinstance(step, int) and step > 0 else 0
    return ImportedNetwork(spec, fitted(spec, weights, source.path), sde, prediction, steps)


def _fourier(
    content: score_sde.Content, contract: ImportContract, source: Source
) -> tuple[SDESpec | None, PredictionSpec]:
    if contract.sde is not None and not isinstance(contract.sde, VESpec):
        raise MedscoreError(
            f"the network has the Fourier features of a VE SDE, but the contract's sde is "
            f"{contract.sde.kind}",
            where=source.path,
            hint="leave sde out of the contract, or use {kind: ve, sigma_min: ..., sigma_max: ...}",
        )
    scales = score_sde.noise_scales(content)
    prediction = PredictionSpec(target="scaled_score", condition="log_sigma")
    return (_ve(scales) if scales else None), prediction


def _positional(
    content: score_sde.Content, contract: ImportContract, source: Source, weights: dict[str, Tensor]
) -> tuple[SDESpec | None, PredictionSpec, dict[str, Tensor]]:
    """The prediction for the user's SDE; for VE, weights for medscore's order of the levels."""
    sde = contract.sde
    if isinstance(sde, VESpec):
        scales = score_sde.noise_scales(content)
        if scales is None:
            raise MedscoreError(
                "the file lacks `sigmas`, the noise scales that the network was trained on",
                where=source.path,
                hint="give the checkpoint as the training wrote it",
            )
        prediction = PredictionSpec(target="scaled_score", condition="level", levels=scales[2])
        return _ve(scales), prediction, score_sde.count_from_least_noise(weights, scales[2])
    if isinstance(sde, DDPMSpec):
        prediction = PredictionSpec(target="noise", condition="level", levels=sde.scales)
        return None, prediction, weights
    return None, PredictionSpec(target="noise", condition="time"), weights


def _ve(scales: tuple[float, float, int]) -> VESpec:
    low, high = (float(f"{sigma:.6g}") for sigma in scales[:2])  # stored in single precision
    return VESpec(sigma_min=low, sigma_max=high)
