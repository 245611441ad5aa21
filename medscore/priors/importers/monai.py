"""State dicts of MONAI's DiffusionModelUNet, mapped to :mod:`medscore.nets.monai_unet`.

Widths, depths and where the attention is show in the shapes. The channels of a head and the groups
of a norm do not: they must be said, ``{num_head_channels: 32, norm_num_groups: 32}``. So must the
SDE and the prediction, which no such file holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.io.specs import first_fault
from medscore.nets.monai_unet import MonaiUNetSpec
from medscore.priors.importers.contract import ImportContract, Mapped, fitted
from medscore.priors.importers.read import Source, some, state_dict

UNSEEN = ("num_head_channels", "norm_num_groups")
"""What the shapes do not show and the function depends on."""

RENAMED = {"in_channels": "image_channels", "num_res_blocks": "res_blocks"}
CONDITIONED = ("with_conditioning", "cross_attention_dim", "num_class_embeds")
INERT = ("transformer_num_layers", "dropout_cattn", "upcast_attention", "use_flash_attention")
"""Arguments that a network without context, in single precision, does not depend on."""


def recognises(source: Source) -> bool:
    """Whether the file holds such a network."""
    try:
        return {"conv_in.conv.weight", "time_embed.0.weight"} <= state_dict(source).keys()
    except MedscoreError:
        return False


def mapped(source: Source, asked: ImportContract) -> Mapped:
    """The network and its weights.

    Raises:
        MedscoreError: a conditional network, a configuration that is incomplete or contradicts
            the shapes, or weights that do not fit.
    """
    weights = state_dict(source)
    config = _said(source.config or {})
    if absent := [name for name in UNSEEN if name not in config]:
        raise MedscoreError(
            f"the weights do not show {' and '.join(absent)}",
            where=source.path,
            hint="give a --config with MONAI's constructor arguments, at least these",
        )
    shown = shown_by(weights, source)
    if isinstance(config.get("res_blocks"), int):
        config["res_blocks"] = (config["res_blocks"],) * len(shown["channels"])
    try:
        spec = MonaiUNetSpec.model_validate({**shown, **config})
    except ValidationError as error:
        raise MedscoreError(first_fault(error), where="--config", hint="correct that key") from None
    for name, value in shown.items():
        if getattr(spec, name) != value:
            raise MedscoreError(
                f"{name} is {getattr(spec, name)}, the weights have {value}",
                where="--config",
                hint="give the configuration the network was made with",
            )
    return Mapped(spec, fitted(spec, weights, source.path, prefix="body."))


def shown_by(weights: Mapping[str, Tensor], source: Source) -> dict[str, Any]:
    """The fields of the specification that names and shapes fix.

    Raises:
        MedscoreError: a conditional network, one of another library, or with a layer missing.
    """
    _refuse_conditional(weights, source)
    first, last = "conv_in.conv.weight", "out.2.conv.weight"
    blocks = _numbers(r"down_blocks\.(\d+)\.", weights)
    resnets = [_numbers(rf"down_blocks\.{i}\.resnets\.(\d+)\.", weights) for i in blocks]
    widths = [f"down_blocks.{i}.resnets.0.conv1.conv.weight" for i in blocks]
    if absent := [name for name in (first, last, *widths) if name not in weights]:
        raise MedscoreError(
            f"not a whole DiffusionModelUNet, missing: {some(absent)}",
            where=source.path,
            hint="save the whole state_dict()",
        )
    into, out = weights[first].shape[1], weights[last].shape[0]
    if into != out:
        raise MedscoreError(
            f"the network takes {into} channels and gives {out}",
            where=source.path,
            hint="networks with extra inputs or a learned variance cannot be mapped",
        )
    middle = "middle_block.attention.attn"
    return {
        "spatial_dims": weights[first].ndim - 2,
        "image_channels": into,
        "channels": tuple(weights[name].shape[0] for name in widths),
        "attention_levels": tuple(
            any(name.startswith(f"down_blocks.{i}.attentions.") for name in weights) for i in blocks
        ),
        "res_blocks": tuple(len(numbers) for numbers in resnets),
        "resblock_updown": any(".downsampler.conv1." in name for name in weights),
        "include_fc": f"{middle}.out_proj.weight" in weights,
        "use_combined_linear": f"{middle}.qkv.weight" in weights,
    }


def _refuse_conditional(weights: Mapping[str, Tensor], source: Source) -> None:
    unconditional = "only unconditional networks can be priors"
    marks = (
        ("is conditional on a class", r"class_embedding\.", unconditional),
        ("is conditional by cross-attention", r".*\.transformer_blocks\.", unconditional),
        (
            "has the attention of MONAI Generative Models",
            r".*\.(attentions\.\d+|attention)\.to_q\.",
            "load it by DiffusionModelUNet.load_old_state_dict and save it again",
        ),
    )
    for what, pattern, hint in marks:
        if any(re.match(pattern, name) for name in weights):
            raise MedscoreError(f"the network {what}", where=source.path, hint=hint)


def _said(config: Mapping[str, Any]) -> dict[str, Any]:
    """MONAI's constructor arguments as fields of the specification."""
    said = {name: value for name, value in config.items() if not name.startswith("_")}
    if asked := [name for name in CONDITIONED if said.pop(name, None)]:
        raise MedscoreError(
            f"{' and '.join(asked)}: a conditional network",
            where="--config",
            hint="only unconditional networks can be priors",
        )
    if said.get("in_channels") != said.pop("out_channels", said.get("in_channels")):
        raise MedscoreError(
            "out_channels differ from in_channels",
            where="--config",
            hint="networks with extra inputs or a learned variance cannot be mapped",
        )
    return {RENAMED.get(name, name): value for name, value in said.items() if name not in INERT}


def _numbers(pattern: str, weights: Mapping[str, Tensor]) -> list[int]:
    found = {int(match[1]) for name in weights if (match := re.match(pattern, name))}
    return sorted(found)
