"""Which k-space samples are taken: boolean masks (ky, kx), centred, with kx the phase encoding.

Cartesian lines run along ky, so a line is a column (Song et al. 2022, B.6.3). The acceleration is
(number of lines) / (lines taken), the fully sampled centre included, and is met to within a line.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

Shape = tuple[int, int]


def centre_fraction(acceleration: float) -> float:
    """Share of the lines in the fully sampled centre: 0.08, 0.04 and 0.02 at 4, 8 and 24 fold,
    linear in between on a logarithmic scale (4 and 8 as in Zbontar et al. 2018).
    """
    known: list[tuple[float, float]] = [(4.0, 0.08), (8.0, 0.04), (24.0, 0.02)]
    if acceleration <= 4:
        return min(1 / acceleration, 0.32 / acceleration)
    for (a, f), (b, g) in pairwise(known):
        if acceleration <= b:
            share = math.log(acceleration / a) / math.log(b / a)
            return float(f * (g / f) ** share)
    return 0.48 / acceleration


def equispaced(shape: Shape, acceleration: float, *, centre: int | None = None) -> Tensor:
    """The centre, and the rest of the lines equally spaced over both sides: the dissertation's.

    Args:
        centre: lines of the centre; by default :func:`centre_fraction` of them, at least 2.

    Raises:
        ValueError: an acceleration under 1, or one that leaves fewer lines than the centre has.
    """
    outside, count, centre = _budget(shape[1], acceleration, centre)
    lines = _centre(shape[1], centre)
    # the middles of ``count`` equal parts of the lines outside the centre
    places = ((torch.arange(count) + 0.5) * len(outside) / max(count, 1)).long()
    lines[outside[places]] = True
    return _columns(lines, shape)


def random_cartesian(
    shape: Shape, acceleration: float, generator: torch.Generator, *, centre: int | None = None
) -> Tensor:
    """The centre, and the rest of the lines drawn uniformly; arguments as in :func:`equispaced`."""
    outside, count, centre = _budget(shape[1], acceleration, centre)
    lines = _centre(shape[1], centre)
    lines[outside[torch.randperm(len(outside), generator=generator)[:count]]] = True
    return _columns(lines, shape)


def variable_density_1d(
    shape: Shape,
    acceleration: float,
    generator: torch.Generator,
    *,
    centre: int | None = None,
    power: float = 3.0,
) -> Tensor:
    """The centre, and the rest of the lines drawn with density (1 - distance)^power (Lustig et al.
    2007), the distance from the centre in halves of the grid.
    """
    outside, count, centre = _budget(shape[1], acceleration, centre)
    lines = _centre(shape[1], centre)
    if count:
        density = (1 - _distance(shape[1])[outside]).clamp_min(1e-3) ** power
        drawn = torch.multinomial(density, count, replacement=False, generator=generator)
        lines[outside[drawn]] = True
    return _columns(lines, shape)


def variable_density_2d(
    shape: Shape,
    acceleration: float,
    generator: torch.Generator,
    *,
    centre: int | None = None,
    power: float = 3.0,
) -> Tensor:
    """Single samples, for two phase encodings: a square centre of ``centre`` x ``centre``, and the
    rest drawn with density (1 - distance)^power; exactly round(samples / acceleration) in all.
    """
    ny, nx = shape
    total = _total(ny * nx, acceleration)
    if centre is None:
        centre = max(2, round(math.sqrt(ny * nx * centre_fraction(acceleration))))
    middle = _centre(ny, min(centre, ny))[:, None] & _centre(nx, min(centre, nx))
    count = total - int(middle.sum())
    _enough(count, total, int(middle.sum()), "samples")
    radius = (_distance(ny)[:, None] ** 2 + _distance(nx) ** 2).sqrt()
    density = torch.where(middle, 0.0, (1 - radius).clamp_min(1e-3) ** power).flatten()
    mask = middle.flatten()
    if count:
        mask[torch.multinomial(density, count, replacement=False, generator=generator)] = True
    return mask.reshape(shape)


def mirrored(mask: Tensor) -> Tensor:
    """The lines of the half kx >= 0 and their mirror images: of a real image the one half tells the
    other, and a mask that takes both has as many lines as before but no help from that.
    """
    half = mask.bool() & (torch.arange(mask.shape[-1]) >= mask.shape[-1] // 2)
    return half | opposite(half)


def opposite(z: Tensor) -> Tensor:
    """What is at -k, for every k of a centred grid: the edge of an even side is its own."""
    shifts = [1 - n % 2 for n in z.shape[-2:]]
    return z.flip(-2, -1).roll(shifts, (-2, -1))


def radial(shape: Shape, spokes: int) -> Tensor:
    """``spokes`` equally spaced lines through the centre, each sample on the nearest grid point."""
    if spokes < 1:
        raise ValueError(f"spokes is {spokes}, expected 1 or more")
    reach = math.hypot(*shape) / 2
    r = torch.arange(-2 * math.ceil(reach), 2 * math.ceil(reach) + 1, dtype=torch.float64) / 2
    angle = torch.arange(spokes, dtype=torch.float64)[:, None] * (math.pi / spokes)
    return _on_grid(shape, r * angle.sin(), r * angle.cos())


def spiral(shape: Shape, turns: float, *, arms: int = 1) -> Tensor:
    """``arms`` Archimedean spirals of ``turns`` turns from the centre to the corners."""
    if not turns > 0 or arms < 1:
        raise ValueError(f"turns is {turns} and arms {arms}, expected positive numbers")
    reach = math.hypot(*shape) / 2
    steps = math.ceil(4 * math.pi * turns * reach)  # two samples a grid spacing on the last turn
    share = (torch.arange(steps + 1, dtype=torch.float64) / steps).sqrt()
    first = torch.arange(arms, dtype=torch.float64)[:, None] * (2 * math.pi / arms)
    angle = 2 * math.pi * turns * share + first
    return _on_grid(shape, reach * share * angle.sin(), reach * share * angle.cos())


def acceleration_of(mask: Tensor) -> float:
    """Samples of the grid over samples taken."""
    return mask.numel() / int(mask.sum())


def calibration_region(mask: Tensor) -> tuple[int, int]:
    """Sides (ky, kx) of the largest fully sampled block around the centre: of those that grow
    alike on all sides until a sample is missing, and then along each axis.

    Raises:
        ValueError: fewer than 2 x 2 samples around the centre were taken.
    """
    whole = mask.bool()
    half = [0, 0]
    growing = [True, True]
    while any(growing):
        for axis in (0, 1):
            if growing[axis]:
                tried = [half[a] + (a == axis) for a in (0, 1)]
                growing[axis] = _block_is_taken(whole, tried)
                half[axis] += growing[axis]
    if min(half) < 1:
        raise ValueError("the mask has no fully sampled centre to calibrate from")
    return 2 * half[0], 2 * half[1]


def _block_is_taken(mask: Tensor, half: list[int]) -> bool:
    spans = []
    for n, h in zip(mask.shape, half, strict=True):
        h = max(h, 1)
        if h > n // 2:
            return False
        spans.append(slice(n // 2 - h, n // 2 + h))
    return bool(mask[spans[0], spans[1]].all())


def _budget(lines: int, acceleration: float, centre: int | None) -> tuple[Tensor, int, int]:
    """The lines outside the centre, how many of them to take, and the centre's number."""
    total = _total(lines, acceleration)
    if centre is None:
        centre = min(max(2, round(lines * centre_fraction(acceleration))), total)
    if not 0 <= centre <= lines:
        raise ValueError(f"centre is {centre} lines of {lines}")
    _enough(total - centre, total, centre, "lines")
    return (~_centre(lines, centre)).nonzero()[:, 0], total - centre, centre


def _total(count: int, acceleration: float) -> int:
    if not 1 <= acceleration < math.inf:
        raise ValueError(f"acceleration is {acceleration}, expected 1 or more")
    return max(2, round(count / acceleration))


def _enough(rest: int, total: int, centre: int, what: str) -> None:
    if rest < 0:
        raise ValueError(
            f"the acceleration leaves {total} {what}, the centre alone has {centre}: lower one"
        )


def _centre(lines: int, count: int) -> Tensor:
    """``count`` lines around line ``lines // 2``, the centre of k-space."""
    first = lines // 2 - count // 2
    k = torch.arange(lines)
    return (k >= first) & (k < first + count)


def _distance(n: int) -> Tensor:
    return (torch.arange(n, dtype=torch.float64) - n // 2).abs() / (n / 2)


def _columns(lines: Tensor, shape: Shape) -> Tensor:
    return lines.expand(shape).clone()


def _on_grid(shape: Shape, y: Tensor, x: Tensor) -> Tensor:
    row, column = (y.round().long() + shape[0] // 2), (x.round().long() + shape[1] // 2)
    inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[row[inside], column[inside]] = True
    return mask
