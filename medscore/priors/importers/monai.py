"""State dicts of MONAI's DiffusionModelUNet, mapped to :mod:`medscore.nets.monai_unet`.

Channels, blocks and levels with attention are derived from the shapes of the weights. The channels
of an attention head and the groups of the normalisation are not, and must be given:
``{num_head_channels: 32, norm_num_groups: 32}``. So must the SDE and the prediction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.io.specs import faults
from medscore.nets.monai_unet import MonaiUNetSpec
from medscore.priors.importers.contract import ImportContract, ImportedNetwork, fitted
from medscore.priors.importers.read import Source, first_names, state_dict

NOT_IN_SHAPES = ("num_head_channels", "norm_num_groups")
"""Arguments that the output depends on and the shapes of the weights do not."""

RENAMED = {"in_channels": "image_channels", "num_res_blocks": "res_blocks"}
CONDITIONED = ("with_conditioning", "cross_attention_dim", "num_class_embeds")
INERT = ("transformer_num_layers", "dropout_cattn", "upcast_attention", "use_flash_attention")
"""Arguments that do not matter for an unconditional network in single precision."""


def recognises(source: Source) -> bool:
    """True if a checkpoint holds such a network.

    Args:
        source: the checkpoint.
    """
    try:
        return {"conv_in.conv.weight", "time_embed.0.weight"} <= state_dict(source).keys()
    except MedscoreError:
        return False


def map_checkpoint(source: Source, contract: ImportContract) -> ImportedNetwork:
    """The network and its weights.

    Args:
        source: the checkpoint.
        contract: the user's contract, not used.

    Raises:
        MedscoreError: the network is conditional, its configuration is incomplete or contradicts
            the shapes, or the weights do not fit.
    """
    weights = state_dict(source)
    config = _arguments(source.config or {})
    if absent := [name for name in NOT_IN_SHAPES if name not in config]:
        raise MedscoreError(
            f"the weights do not define {' and '.join(absent)}",
            where=source.path,
            hint="give a `config` with these and any other of MONAI's constructor arguments",
        )
    derived = fields_from_shapes(weights, source)
    if isinstance(config.get("res_blocks"), int):
        config["res_blocks"] = (config["res_blocks"],) * len(derived["channels"])
    try:
        spec = MonaiUNetSpec.model_validate({**derived, **config})
    except ValidationError as error:
        raise MedscoreError(faults(error), where="`config`", hint="correct that key") from None
    for name, value in derived.items():
        if getattr(spec, name) != value:
            raise MedscoreError(
                f"{name} is {getattr(spec, name)}, but {value} in the weights",
                where="`config`",
                hint="give the configuration that the network was made with",
            )
    return ImportedNetwork(spec, fitted(spec, weights, source.path, prefix="body."))


def fields_from_shapes(weights: Mapping[str, Tensor], source: Source) -> dict[str, Any]:
    """The fields of the specification that follow from names and shapes of the weights.

    Args:
        weights: weights by name.
        source: the checkpoint.

    Raises:
        MedscoreError: the network is conditional, of another library, or lacks a layer.
    """
    _refuse_conditional(weights, source)
    first, last = "conv_in.conv.weight", "out.2.conv.weight"
    blocks = _numbers(r"down_blocks\.(\d+)\.", weights)
    resnets = [_numbers(rf"down_blocks\.{i}\.resnets\.(\d+)\.", weights) for i in blocks]
    widths = [f"down_blocks.{i}.resnets.0.conv1.conv.weight" for i in blocks]
    if absent := [name for name in (first, last, *widths) if name not in weights]:
        raise MedscoreError(
            f"not a complete DiffusionModelUNet, missing: {first_names(absent)}",
            where=source.path,
            hint="save the complete state_dict()",
        )
    if flat := [name for name in (first, last, *widths) if weights[name].ndim not in (3, 4, 5)]:
        raise MedscoreError(
            f"{flat[0]} has shape {tuple(weights[flat[0]].shape)}, which is no convolution",
            where=source.path,
            hint="save the complete state_dict()",
        )
    into, out = weights[first].shape[1], weights[last].shape[0]
    if into != out:
        raise MedscoreError(
            f"the network has {into} input and {out} output channels",
            where=source.path,
            hint="networks with extra inputs or a learned variance cannot be imported",
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
        ("is class-conditional", r"class_embedding\.", unconditional),
        ("is conditioned by cross-attention", r".*\.transformer_blocks\.", unconditional),
        (
            "has the attention layers of MONAI Generative Models",
            r".*\.(attentions\.\d+|attention)\.to_q\.",
            "load it with DiffusionModelUNet.load_old_state_dict and save it again",
        ),
    )
    for what, pattern, hint in marks:
        if any(re.match(pattern, name) for name in weights):
            raise MedscoreError(f"the network {what}", where=source.path, hint=hint)


def _arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """MONAI's constructor arguments as fields of the specification."""
    arguments = {name: value for name, value in config.items() if not name.startswith("_")}
    if used := [name for name in CONDITIONED if arguments.pop(name, None)]:
        raise MedscoreError(
            f"{' and '.join(used)}: a conditional network",
            where="`config`",
            hint="only unconditional networks can be priors",
        )
    if arguments.get("in_channels") != arguments.pop("out_channels", arguments.get("in_channels")):
        raise MedscoreError(
            "out_channels differ from in_channels",
            where="`config`",
            hint="networks with extra inputs or a learned variance cannot be imported",
        )
    return {
        RENAMED.get(name, name): value for name, value in arguments.items() if name not in INERT
    }


def _numbers(pattern: str, weights: Mapping[str, Tensor]) -> list[int]:
    found = {int(match[1]) for name in weights if (match := re.match(pattern, name))}
    return sorted(found)
