r"""Weights of score_sde_pytorch (NCSN++, DDPM++ and DDPM), for :mod:`medscore.nets.ncsnpp`.

A checkpoint holds ``model``, tensors by name, and ``ema``, the averages of the trained tensors in
the same order without names (github.com/yang-song/score_sde_pytorch, models/ema.py).

The library divides the output F of the network by sigma: the score is F/sigma for networks trained
on a VE SDE and -F/sigma for all others, so the prediction is ``scaled_score`` or ``noise``. A
network trained on N scales of a VE SDE (SMLD) counts the scales from the largest noise,
k' = N - 1 - k, while medscore counts them from the smallest. With L = N - 1, its features of k' are

.. math:: \sin \omega(L - k) = \sin \omega L \cos \omega k - \cos \omega L \sin \omega k, \qquad
          \cos \omega(L - k) = \cos \omega L \cos \omega k + \sin \omega L \sin \omega k,

so a change of the weights of the first layer makes it a function of k
(:func:`count_from_least_noise`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.nets.embedding import PositionalEmbedding
from medscore.nets.ncsnpp import NCSNPPSpec
from medscore.priors.importers.score_sde_layout import Entry, infer, layout

Content = Mapping[str, object]
"""Content of a file: ``model``, ``ema`` and more, or the tensors of ``model`` alone."""

HINT = "use a complete checkpoint of exactly this network"


def recognise(content: Content) -> NCSNPPSpec | None:
    """The specification of the network in a checkpoint, from the shapes of its tensors.

    Choices that the shapes do not determine are listed in
    :func:`~medscore.priors.importers.score_sde_layout.infer`.

    Args:
        content: content of the file.

    Returns:
        The specification, or None if the checkpoint holds none of these networks.
    """
    tensors = _named(content)
    return infer({name: tensor.shape for name, tensor in tensors.items()}) if tensors else None


def noise_scales(content: Content) -> tuple[float, float, int] | None:
    """The noise scales in a checkpoint. They are meaningful for networks trained on a VE SDE only.

    Args:
        content: content of the file.

    Returns:
        sigma_min, sigma_max and the number of scales N, or None if the file has none.
    """
    model = content.get("model", content)
    sigmas = model.get("module.sigmas", model.get("sigmas")) if isinstance(model, Mapping) else None
    if not isinstance(sigmas, Tensor) or sigmas.ndim != 1 or not len(sigmas):
        return None
    return float(sigmas.min()), float(sigmas.max()), len(sigmas)


def weights(content: Content, spec: NCSNPPSpec) -> dict[str, Tensor]:
    """The state dict of the network, from the averages if the file has any, else from ``model``.

    Args:
        content: content of the file.
        spec: specification of the network.

    Raises:
        MedscoreError: tensors are missing, unknown or of another shape; the first three are named.
    """
    there, entries = _named(content), layout(spec)
    if not there:
        raise MedscoreError(
            "there is no `model` with named tensors", hint="give a checkpoint of score_sde_pytorch"
        )
    _refuse("the file lacks", [e.theirs for e in entries if e.theirs not in there])
    _refuse("the network has no", sorted(there.keys() - {e.theirs for e in entries}))
    there |= _averages(content, entries)
    _refuse(
        "shapes differ:",
        [
            f"{e.theirs} is {tuple(there[e.theirs].shape)}, not {tuple(e.shape)}"
            for e in entries
            if there[e.theirs].shape != e.shape
        ],
    )
    return {
        e.ours: there[e.theirs].T[:, :, None, None].contiguous() if e.matrix else there[e.theirs]
        for e in entries
    }


def count_from_least_noise(weights: Mapping[str, Tensor], levels: int) -> dict[str, Tensor]:
    """Change a network with positional embedding from the scale ``levels - 1 - k`` to k.

    Args:
        weights: state dict of the network.
        levels: number of noise scales.

    Returns:
        The state dict with other weights in the first layer (the formula of the module).
    """
    name = "condition.0.weight"
    weight = weights[name].double()
    last = torch.tensor([levels - 1.0], dtype=torch.float64)
    sin, cos = PositionalEmbedding(weight.shape[1])(last)[0].chunk(2)
    of_sin, of_cos = weight.chunk(2, dim=1)
    turned = torch.cat([of_cos * sin - of_sin * cos, of_sin * sin + of_cos * cos], dim=1)
    return {**weights, name: turned.to(weights[name].dtype)}


def _named(content: Content) -> dict[str, Tensor]:
    """The tensors of ``model`` without the noise scales; empty if it holds anything else."""
    model = content.get("model", content)
    if not isinstance(model, Mapping):
        return {}
    tensors = {str(name).removeprefix("module."): tensor for name, tensor in model.items()}
    tensors.pop("sigmas", None)
    return tensors if all(isinstance(t, Tensor) for t in tensors.values()) else {}


def _averages(content: Content, entries: Sequence[Entry]) -> dict[str, Tensor]:
    """The averages by name; empty if the file has none."""
    if "ema" not in content:
        return {}
    ema, trained = content["ema"], [e.theirs for e in entries if e.trained]
    values = ema.get("shadow_params") if isinstance(ema, Mapping) else None
    if not isinstance(values, list) or not all(isinstance(v, Tensor) for v in values):
        raise MedscoreError("its `ema` has no list `shadow_params` of tensors", hint=HINT)
    if len(values) != len(trained):
        raise MedscoreError(
            f"its `ema` has {len(values)} tensors, but the network has {len(trained)} trained ones",
            hint=HINT,
        )
    return dict(zip(trained, values, strict=True))


def _refuse(what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise MedscoreError(f"{what} {', '.join(names[:3])}{more}", hint=HINT)
