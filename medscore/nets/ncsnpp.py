"""NCSN++, DDPM++ and their ancestor DDPM (Song et al. 2022, B.5.8; Ho et al. 2020).

They are one U-Net, whose specification selects the components of B.5.8. The named networks are in
``configs/networks``:

=================  ======  ========  ======  ==========  =========  ===========================
name               block   resample  blocks  embedding   input      prediction
=================  ======  ========  ======  ==========  =========  ===========================
ddpm               ddpm    plain     2       positional  none       noise, level
ddpmpp             biggan  plain     4       positional  none       noise, level
ddpmpp-cont        biggan  plain     4       positional  none       noise, time
ddpmpp-cont-deep   biggan  plain     8       positional  none       noise, time
ncsnpp             biggan  fir       4       positional  residual   scaled_score, level
ncsnpp-cont        biggan  fir       4       fourier     residual   scaled_score, log_sigma
ncsnpp-cont-deep   biggan  fir       8       fourier     residual   scaled_score, log_sigma
=================  ======  ========  ======  ==========  =========  ===========================

and all but ddpm rescale their skip connections. The last column is the ``prediction`` that belongs
to the network; :mod:`medscore.priors.preconditioning` does the division by sigma.
"""

from __future__ import annotations

from typing import Annotated, Literal, cast

from pydantic import Field, model_validator
from torch import nn

from medscore.nets.embedding import FourierEmbedding, PositionalEmbedding
from medscore.nets.fir import FIR, PLAIN
from medscore.nets.pyramid import (
    DecoderLevel,
    EncoderLevel,
    InputResidual,
    InputSkip,
    Middle,
    Way,
    to_image,
)
from medscore.nets.residual import (
    BlockStyle,
    ResidualBlock,
    StridedConvolution,
    UpConvolution,
    convolution,
    groups,
    initialise,
)
from medscore.nets.spec import Few, NetworkSpec, Positive, check_halved
from medscore.types import Images, Times


class NCSNPPSpec(NetworkSpec):
    """Parameters of :class:`NCSNPP`, one for each choice of B.5.8.

    Attributes:
        kind: ``ncsnpp``.
        image_channels: channels of the images.
        width: channels at full resolution, a multiple of 4.
        multipliers: channels of each level in units of ``width``, finest first.
        blocks: residual blocks of each level of the encoder; the decoder has one more.
        attention: levels with attention, 0 for the finest; the middle block always has attention.
        block: ``biggan`` resamples inside residual blocks, ``ddpm`` between them.
        resample: ``fir`` (with an anti-aliasing filter) or ``plain``.
        rescale_skips: whether every sum with a skip connection is divided by sqrt(2).
        progressive_input: how a pyramid of the input joins the features, if at all.
        progressive_output: whether the output is a sum over a pyramid.
        embedding: embedding of c: ``fourier`` of log sigma, ``positional`` of a step from 0 to 999.
        fourier_scale: standard deviation of the Fourier frequencies.
        image_range: ``unit`` if the network maps its input x to 2 x - 1, as published NCSN++
            networks for images in [0, 1] do; ``symmetric`` if it takes x unchanged.
        dropout: dropout probability.
    """

    kind: Literal["ncsnpp"] = "ncsnpp"
    image_channels: Positive = 1
    width: Annotated[int, Field(gt=0, le=16_384, multiple_of=4)] = 128
    multipliers: tuple[Positive, ...] = Field((1, 2, 2, 2), min_length=1, max_length=16)
    blocks: Few = 4
    attention: tuple[int, ...] = (1,)
    block: Literal["biggan", "ddpm"] = "biggan"
    resample: Literal["fir", "plain"] = "fir"
    rescale_skips: bool = True
    progressive_input: Literal["none", "input_skip", "residual"] = "residual"
    progressive_output: Literal["none", "output_skip"] = "none"
    embedding: Literal["fourier", "positional"] = "fourier"
    fourier_scale: float = Field(default=16.0, gt=0)
    image_range: Literal["symmetric", "unit"] = "symmetric"
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _consistent(self) -> NCSNPPSpec:
        last = len(self.multipliers) - 1
        if len(set(self.attention)) < len(self.attention) or any(
            not 0 <= level <= last for level in self.attention
        ):
            raise ValueError(f"attention {self.attention} must be distinct levels from 0 to {last}")
        widths = {*self.widths, *(w for level in self.decoder_widths for w in level)}
        if bad := [w for w in sorted(widths) if w % groups(w)]:
            raise ValueError(
                f"width {self.width} and multipliers {self.multipliers} give a layer of "
                f"{bad[0]} channels, which is not a multiple of its {groups(bad[0])} groups"
            )
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.width * m for m in self.multipliers)

    @property
    def decoder_widths(self) -> list[list[int]]:
        """Input channels of each block of the decoder, coarsest level first."""
        skips = [self.width]
        for i, width in enumerate(self.widths):
            skips += [width] * (self.blocks + (i < len(self.widths) - 1))
        h, taken = self.widths[-1], list[list[int]]()
        for width in reversed(self.widths):
            taken.append([])
            for _ in range(self.blocks + 1):
                taken[-1].append(h + skips.pop())
                h = width
        return taken

    def build(self) -> nn.Module:
        return NCSNPP(self)

    def check_size(self, size: int) -> None:
        check_halved(size, len(self.multipliers), "multipliers")


class NCSNPP(nn.Module):
    """The network of a specification.

    Args:
        spec: parameters of the network.
    """

    def __init__(self, spec: NCSNPPSpec) -> None:
        super().__init__()
        self.spec = spec
        width, widths, last = spec.width, spec.widths, len(spec.widths) - 1
        style = _style(spec)
        self.embedding: nn.Module
        if spec.embedding == "fourier":
            self.embedding, features = FourierEmbedding(width, spec.fourier_scale), 2 * width
        else:
            self.embedding, features = PositionalEmbedding(width), width
        self.condition = nn.Sequential(
            initialise(nn.Linear(features, style.condition)),
            nn.SiLU(),
            initialise(nn.Linear(style.condition, style.condition)),
            nn.SiLU(),  # followed by a linear layer in every block
        )
        self.first = convolution(spec.image_channels, width)
        self.encoder = nn.ModuleList(
            EncoderLevel(
                widths[i - 1] if i else width,
                widths[i],
                blocks=spec.blocks,
                attention=i in spec.attention,
                style=style,
                down=_down(spec, style, i) if i < last else Way(),
            )
            for i in range(last + 1)
        )
        self.middle = Middle(widths[last], style)
        self.decoder = nn.ModuleList(
            DecoderLevel(
                into,
                widths[i],
                attention=i in spec.attention,
                style=style,
                up=_up(spec, style, i),
            )
            for i, into in zip(range(last, -1, -1), spec.decoder_widths, strict=True)
        )
        progressive = spec.progressive_output == "output_skip"
        self.last = None if progressive else to_image(widths[0], spec.image_channels)

    def forward(self, x: Images, c: Times) -> Images:
        """The output of the network, of the shape of ``x``.

        Args:
            x: noisy images (batch, channel, H, W).
            c: condition of each image, (batch,), as the embedding takes it.
        """
        condition = self.condition(self.embedding(c).to(x.dtype))
        if self.spec.image_range == "unit":
            x = 2 * x - 1
        skips, pyramid, image = [self.first(x)], x, None
        for level in self.encoder:
            found, pyramid = level(skips[-1], condition, pyramid)
            skips += found
        h = self.middle(skips[-1], condition)
        for level in self.decoder:
            h, image = level(h, skips, condition, image)
        return cast(Images, image if self.last is None else self.last(h))


def _style(spec: NCSNPPSpec) -> BlockStyle:
    return BlockStyle(
        condition=4 * spec.width,
        dropout=spec.dropout,
        skip=0.5**0.5 if spec.rescale_skips else 1.0,
        shortcut=1.0 if spec.block == "biggan" else 0.1,
        resampling=FIR if spec.resample == "fir" else PLAIN,
    )


def _down(spec: NCSNPPSpec, style: BlockStyle, level: int) -> Way:
    """The way from a level to the next coarser one, and the part of the input pyramid."""
    width, channels = spec.widths[level], spec.image_channels
    pyramid: nn.Module | None = None
    if spec.progressive_input == "input_skip":
        pyramid = InputSkip(channels, width, style)
    elif spec.progressive_input == "residual":
        pyramid = InputResidual(spec.widths[level - 1] if level else channels, width, style)
    if spec.block == "biggan":
        return Way(ResidualBlock(width, width, style, style.resampling.down), pyramid)
    return Way(StridedConvolution(width, width, style.resampling), pyramid)


def _up(spec: NCSNPPSpec, style: BlockStyle, level: int) -> Way:
    """The way from a level to the next finer one, if any, and the part of the output pyramid."""
    width = spec.widths[level]
    progressive = spec.progressive_output == "output_skip"
    part = to_image(width, spec.image_channels) if progressive else None
    if level == 0:
        return Way(None, part)
    if spec.block == "biggan":
        return Way(ResidualBlock(width, width, style, style.resampling.up), part)
    return Way(UpConvolution(width, style.resampling), part)
