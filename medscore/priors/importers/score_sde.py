r"""Weights of score_sde_pytorch (NCSN++, DDPM++ and DDPM), for :mod:`medscore.nets.ncsnpp`.

A checkpoint holds ``model``, tensors by name, and ``ema``, the averages of the trained ones in the
same order without names (github.com/yang-song/score_sde_pytorch, models/ema.py).

F is what its authors divide by sigma: F/sigma is the score of a network trained on a VE SDE, and
-F/sigma of one trained on the others, so its prediction is ``scaled_score`` or ``noise``. A network
trained on N scales of a VE SDE (SMLD) is told their number from the most noise, k' = N - 1 - k,
where medscore counts from the least: since its features of k' are, with L = N - 1,

.. math:: \sin \omega(L - k) = \sin \omega L \cos \omega k - \cos \omega L \sin \omega k, \qquad
          \cos \omega(L - k) = \cos \omega L \cos \omega k + \sin \omega L \sin \omega k,

other weights of the first layer do the same for k (:func:`count_from_least_noise`).
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
"""Of the file: ``model``, ``ema`` and more, or the tensors of ``model`` alone."""


def recognise(content: Content) -> NCSNPPSpec | None:
    """The network that a checkpoint is of, as far as its shapes tell; see
    :func:`~medscore.priors.importers.score_sde_layout.infer` for what they do not. ``None`` where
    it is none of these networks.
    """
    tensors = _named(content)
    return infer({name: tensor.shape for name, tensor in tensors.items()}) if tensors else None


def noise_scales(content: Content) -> tuple[float, float, int] | None:
    """sigma_min, sigma_max and their number N, of a network trained on a VE SDE; ``None`` where the
    file has none. Networks trained on other SDEs have some as well, which mean nothing.
    """
    model = content.get("model", content)
    sigmas = model.get("module.sigmas", model.get("sigmas")) if isinstance(model, Mapping) else None
    if not isinstance(sigmas, Tensor) or sigmas.ndim != 1 or not len(sigmas):
        return None
    return float(sigmas.min()), float(sigmas.max()), len(sigmas)


def weights(content: Content, spec: NCSNPPSpec) -> dict[str, Tensor]:
    """The network's state dict: the averages, or without any the tensors of ``model``.

    Args:
        content: of the file.
        spec: what network it is of.

    Raises:
        MedscoreError: no such tensors, some that the network or the file lacks, or of another
            shape; the first three are named.
    """
    there, entries = _named(content), layout(spec)
    if not there:
        raise MedscoreError(
            "there is no `model` of named tensors", hint="give a checkpoint of score_sde_pytorch"
        )
    _refuse("it lacks", [e.theirs for e in entries if e.theirs not in there])
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
    """The state dict of a network with positions that takes k where the given one takes
    ``levels - 1 - k``: the module's formula.
    """
    name = "condition.0.weight"
    weight = weights[name].double()
    last = torch.tensor([levels - 1.0], dtype=torch.float64)
    sin, cos = PositionalEmbedding(weight.shape[1])(last)[0].chunk(2)
    of_sin, of_cos = weight.chunk(2, dim=1)
    turned = torch.cat([of_cos * sin - of_sin * cos, of_sin * sin + of_cos * cos], dim=1)
    return {**weights, name: turned.to(weights[name].dtype)}


def _named(content: Content) -> dict[str, Tensor]:
    """The tensors of ``model`` without the noise scales; empty where there is something else."""
    model = content.get("model", content)
    if not isinstance(model, Mapping):
        return {}
    tensors = {str(name).removeprefix("module."): tensor for name, tensor in model.items()}
    tensors.pop("sigmas", None)
    return tensors if all(isinstance(t, Tensor) for t in tensors.values()) else {}


def _averages(content: Content, entries: Sequence[Entry]) -> dict[str, Tensor]:
    """The averages by name; empty where the file has none."""
    if "ema" not in content:
        return {}
    ema, trained = content["ema"], [e.theirs for e in entries if e.trained]
    values = ema.get("shadow_params") if isinstance(ema, Mapping) else None
    if not isinstance(values, list) or not all(isinstance(v, Tensor) for v in values):
        raise MedscoreError("its `ema` has no list `shadow_params` of tensors", hint=MEND)
    if len(values) != len(trained):
        raise MedscoreError(
            f"its `ema` has {len(values)} tensors, the network has {len(trained)} trained ones",
            hint=MEND,
        )
    return dict(zip(trained, values, strict=True))


MEND = "give the network that this checkpoint is of"


def _refuse(what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise MedscoreError(f"{what} {', '.join(names[:3])}{more}", hint=MEND)
