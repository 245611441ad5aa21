"""The names of a network's tensors in score_sde_pytorch, and the network that belongs to them.

The layers are ``all_modules.N``, numbered in the order in which an image passes them
(github.com/yang-song/score_sde_pytorch, models/ncsnpp.py and models/ddpm.py). The normalisation in
models/ddpm.py has 32 groups for any number of channels, in medscore only from 128 channels on:
narrower networks would be imported but give other results. None of them is published.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch

from medscore.nets.ncsnpp import NCSNPPSpec

Names = Mapping[str, str]
"""Names of a layer's parts in score_sde_pytorch, and in medscore."""

Shapes = Mapping[str, torch.Size]

ITSELF: Names = {"": ""}
ATTENTION: Names = {
    "GroupNorm_0": "norm", "NIN_0": "query", "NIN_1": "key", "NIN_2": "value", "NIN_3": "out",
}  # fmt: skip
BLOCK: Names = {
    "GroupNorm_0": "norm_in", "Conv_0": "conv_in", "Dense_0": "condition",
    "GroupNorm_1": "norm_out", "Conv_1": "conv_out",
}  # fmt: skip


class Entry(NamedTuple):
    """One tensor of a network.

    Attributes:
        theirs: name in score_sde_pytorch.
        ours: name in medscore.
        shape: shape in score_sde_pytorch.
        trained: whether it is trained and thus has an average.
        matrix: whether it is a matrix (in, out), which is a 1 x 1 convolution in medscore.
    """

    theirs: str
    ours: str
    shape: torch.Size
    trained: bool = True
    matrix: bool = False


def layout(spec: NCSNPPSpec) -> list[Entry]:
    """All tensors of a network, in the order of score_sde_pytorch.

    Args:
        spec: specification of the network.
    """
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in spec.build().state_dict().items()}
    found: list[Entry] = []
    if "embedding.frequencies" in shapes:
        name = "embedding.frequencies"
        found.append(Entry("all_modules.0.W", name, shapes[name], trained=False))
    for n, (layer, names) in enumerate(_layers(spec), start=len(found)):
        for theirs, ours in names.items():
            there, here = _join(f"all_modules.{n}", theirs), _join(layer, ours)
            if f"{here}.weight" not in shapes:  # a block without a shortcut
                continue
            weight, bias = shapes[f"{here}.weight"], shapes[f"{here}.bias"]
            if theirs.startswith("NIN_"):
                turned = torch.Size([weight[1], weight[0]])
                found.append(Entry(f"{there}.W", f"{here}.weight", turned, matrix=True))
                found.append(Entry(f"{there}.b", f"{here}.bias", bias))
            else:
                found.append(Entry(f"{there}.weight", f"{here}.weight", weight))
                found.append(Entry(f"{there}.bias", f"{here}.bias", bias))
    return found


def _join(layer: str, part: str) -> str:
    return f"{layer}.{part}" if part else layer


def _layers(spec: NCSNPPSpec) -> Iterator[tuple[str, Names]]:
    """The layers in the order of ``all_modules``, with the names of their parts."""
    last, biggan, fir = len(spec.widths) - 1, spec.block == "biggan", spec.resample == "fir"
    block = {**BLOCK, ("Conv_2" if biggan else "NIN_0"): "shortcut"}
    between = {("Conv2d_0" if fir else "Conv_0"): "conv"}
    yield from [("condition.0", ITSELF), ("condition.2", ITSELF), ("first", ITSELF)]
    for i in range(last + 1):
        for j in range(spec.blocks):
            yield f"encoder.{i}.blocks.{j}", block
            if i in spec.attention:
                yield f"encoder.{i}.attention.{j}", ATTENTION
        if i < last:
            yield f"encoder.{i}.down", block if biggan else between
            if spec.progressive_input == "input_skip":
                yield f"encoder.{i}.pyramid", {"Conv": "conv"}
            if spec.progressive_input == "residual":
                yield f"encoder.{i}.pyramid.down", between
    yield "middle.block_in", block
    yield "middle.attention", ATTENTION
    yield "middle.block_out", block
    for i in range(last + 1):
        for j in range(spec.blocks + 1):
            yield f"decoder.{i}.blocks.{j}", block
        if last - i in spec.attention:
            yield f"decoder.{i}.attention", ATTENTION
        if spec.progressive_output == "output_skip":
            yield from [(f"decoder.{i}.to_image.0", ITSELF), (f"decoder.{i}.to_image.2", ITSELF)]
        if i < last:
            yield f"decoder.{i}.up", block if biggan else between
    if spec.progressive_output == "none":
        yield from [("last.0", ITSELF), ("last.2", ITSELF)]


BETWEEN = ("strided", "strided fir", "combine")
"""Kinds of layers between two levels, besides residual blocks."""


def infer(shapes: Shapes) -> NCSNPPSpec | None:
    """The network whose tensors have given names and shapes.

    Some choices do not show in the shapes and are assumed as in the published networks: skip
    connections are rescaled with BigGAN blocks; resampling is plain unless a layer or a progressive
    input shows otherwise; the image range is [0, 1] with FIR resampling or Fourier features.

    Args:
        shapes: shape of each tensor by its name in score_sde_pytorch.

    Returns:
        The specification, or None if there is no such network or it has only one level.
    """
    layers = _grouped(shapes)
    kinds = [_kind(layer) for layer in layers]
    fourier = kinds[:1] == ["fourier"]
    if kinds[fourier : fourier + 4] != ["linear", "linear", "convolution", "block"]:
        return None
    biggan = any("Conv_2.weight" in layer for layer in layers)
    fir = "combine" in kinds or "strided fir" in kinds
    try:
        width, image_channels = layers[fourier + 2]["weight"][:2]
        levels, attention, joint = _encoder(layers[fourier + 3 :], kinds[fourier + 3 :])
        spec = NCSNPPSpec(
            image_channels=image_channels,
            width=width,
            multipliers=tuple(widths[0] // width for widths in levels),
            blocks=len(levels[0]),
            attention=attention,
            block="biggan" if biggan else "ddpm",
            resample="fir" if fir else "plain",
            rescale_skips=biggan,
            progressive_input=(
                "none" if joint is None else "input_skip" if joint == "combine" else "residual"
            ),
            progressive_output="output_skip" if kinds.count("norm") > 1 else "none",
            embedding="fourier" if fourier else "positional",
            image_range="unit" if fir or fourier else "symmetric",
        )
    except (ValueError, LookupError, ZeroDivisionError):  # parts missing, or of other shapes
        return None
    return spec if {e.theirs: e.shape for e in layout(spec)} == dict(shapes) else None


def _grouped(shapes: Shapes) -> list[dict[str, torch.Size]]:
    """The parts of each layer, in order."""
    layers: dict[int, dict[str, torch.Size]] = {}
    for name, shape in shapes.items():
        if found := re.fullmatch(r"all_modules\.(\d+)\.(.+)", name):
            layers.setdefault(int(found[1]), {})[found[2]] = shape
    return [layers[n] for n in sorted(layers)]


def _kind(layer: Shapes) -> str:
    """The kind of a layer, from the names of its parts."""
    marks = {
        "Dense_0.weight": "block", "NIN_3.W": "attention", "W": "fourier", "Conv.weight": "combine",
        "Conv2d_0.weight": "strided fir", "Conv_0.weight": "strided",
    }  # fmt: skip
    for mark, kind in marks.items():
        if mark in layer:
            if "Conv_2.weight" in layer and len(set(layer["Conv_2.weight"][:2])) == 1:
                return "resampling"  # a shortcut between equal widths
            return kind
    plain = {1: "norm", 2: "linear", 4: "convolution"}
    return plain.get(len(layer.get("weight", ())), "unknown")


def _encoder(
    layers: Sequence[Shapes], kinds: Sequence[str]
) -> tuple[list[list[int]], tuple[int, ...], str | None]:
    """Channels of the blocks of each level, levels with attention, and the kind of input layers.

    Every level has as many blocks as the first; the layers after those of the last level are the
    middle.
    """
    levels: list[list[int]] = [[]]
    attention: list[int] = []
    joint: str | None = None
    for i, (layer, kind) in enumerate(zip(layers, kinds, strict=True)):
        if kind == "block" and (len(levels) == 1 or len(levels[-1]) < len(levels[0])):
            levels[-1].append(layer["Conv_0.weight"][0])
        elif kind == "attention":
            attention += [] if len(levels) - 1 in attention else [len(levels) - 1]
        elif i and kind in BETWEEN and kinds[i - 1] in ("resampling", *BETWEEN):
            joint = kind
        elif kind in ("resampling", *BETWEEN):
            levels.append([])
        else:
            break
    return levels, tuple(attention), joint
