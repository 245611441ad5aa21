"""Sampling patterns of k-space: boolean masks (ky, kx), centred, with kx the phase encoding.

Cartesian lines run along ky, so a line is a column (Song et al. 2022, B.6.3). The acceleration is
(number of lines) / (measured lines), including the fully sampled centre, to within one line.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from medscore.operators.grid import OperatorError

Shape = tuple[int, int]


def centre_fraction(acceleration: float) -> float:
    """Default share of the lines in the fully sampled centre.

    It is 0.08, 0.04 and 0.02 at an acceleration of 4, 8 and 24, with log-log interpolation in
    between (4 and 8 as in Zbontar et al. 2018).

    Args:
        acceleration: number of lines over the number of measured lines.
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
    """The centre, and the other lines equally spaced on both sides of it (the dissertation's mask).

    Args:
        shape: (ky, kx).
        acceleration: number of lines over the number of measured lines.
        centre: number of central lines; by default :func:`centre_fraction` of all, at least 2.

    Raises:
        OperatorError: an acceleration below 1, or one that leaves fewer lines than the centre has.
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
    """The centre, and the other lines drawn uniformly at random.

    Args:
        shape: (ky, kx).
        acceleration: number of lines over the number of measured lines.
        generator: a CPU generator, from which the lines are drawn.
        centre: number of central lines, as in :func:`equispaced`.

    Raises:
        OperatorError: as in :func:`equispaced`.
    """
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
    """The centre, and the other lines drawn with density (1 - distance)^power (Lustig et al. 2007).

    Args:
        shape: (ky, kx).
        acceleration: number of lines over the number of measured lines.
        generator: a CPU generator, from which the lines are drawn.
        centre: number of central lines, as in :func:`equispaced`.
        power: exponent of the density; the distance from the centre is 1 at the edge of k-space.

    Raises:
        OperatorError: as in :func:`equispaced`.
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
    """Individual samples, for two phase-encoding directions, drawn with a variable density.

    The centre is a square; the other samples are drawn with density (1 - distance)^power. There are
    exactly round(number of samples / acceleration) in all.

    Args:
        shape: (ky, kx).
        acceleration: number of samples over the number of measured samples.
        generator: a CPU generator, from which the samples are drawn.
        centre: side of the central square; by default that of :func:`centre_fraction` of its area,
            at least 2.
        power: exponent of the density; the distance from the centre is 1 at the edge of k-space.

    Raises:
        OperatorError: an acceleration below 1, or one that leaves fewer samples than the centre
            has.
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
    """The lines of the half kx >= 0 and their mirror images.

    The k-space of a real image is conjugate-symmetric, so a mirrored pair of lines measures no more
    than one of them does: such a mask does not profit from the symmetry.

    Args:
        mask: (..., ky, kx).
    """
    half = mask.bool() & (torch.arange(mask.shape[-1]) >= mask.shape[-1] // 2)
    return half | opposite(half)


def opposite(z: Tensor) -> Tensor:
    """The value at -k for every k of a centred grid; the edge of an even side maps to itself.

    Args:
        z: (..., ky, kx).
    """
    shifts = [1 - n % 2 for n in z.shape[-2:]]
    return z.flip(-2, -1).roll(shifts, (-2, -1))


def radial(shape: Shape, spokes: int) -> Tensor:
    """Equally spaced lines through the centre, each sample on the nearest grid point.

    Args:
        shape: (ky, kx).
        spokes: number of lines, over 180 degrees.

    Raises:
        OperatorError: ``spokes`` is less than 1.
    """
    if spokes < 1:
        raise OperatorError(f"`spokes` is {spokes}, expected 1 or more")
    reach = math.hypot(*shape) / 2
    r = torch.arange(-2 * math.ceil(reach), 2 * math.ceil(reach) + 1, dtype=torch.float64) / 2
    angle = torch.arange(spokes, dtype=torch.float64)[:, None] * (math.pi / spokes)
    return _on_grid(shape, r * angle.sin(), r * angle.cos())


def spiral(shape: Shape, turns: float, *, arms: int = 1) -> Tensor:
    """Archimedean spirals from the centre to the corners, on the nearest grid points.

    Args:
        shape: (ky, kx).
        turns: number of turns of each spiral.
        arms: number of spirals.

    Raises:
        OperatorError: ``turns`` or ``arms`` is not positive.
    """
    if not turns > 0 or arms < 1:
        raise OperatorError(f"`turns` is {turns} and `arms` {arms}, expected positive numbers")
    reach = math.hypot(*shape) / 2
    steps = math.ceil(4 * math.pi * turns * reach)  # two samples per grid spacing on the last turn
    share = (torch.arange(steps + 1, dtype=torch.float64) / steps).sqrt()
    first = torch.arange(arms, dtype=torch.float64)[:, None] * (2 * math.pi / arms)
    angle = 2 * math.pi * turns * share + first
    return _on_grid(shape, reach * share * angle.sin(), reach * share * angle.cos())


def acceleration_of(mask: Tensor) -> float:
    """The number of grid points of ``mask`` over the number of measured ones."""
    return mask.numel() / int(mask.sum())


def calibration_region(mask: Tensor) -> tuple[int, int]:
    """Sides (ky, kx) of the fully sampled block around the centre.

    The block grows equally on all sides until a sample is missing, and then along each axis.

    Args:
        mask: (ky, kx).

    Raises:
        OperatorError: fewer than 2 x 2 samples around the centre are measured.
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
        raise OperatorError("the mask has no fully sampled centre, which calibration needs")
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
    """The lines outside the centre, the number of them to measure, and that of the centre."""
    total = _total(lines, acceleration)
    if centre is None:
        centre = min(max(2, round(lines * centre_fraction(acceleration))), total)
    if not 0 <= centre <= lines:
        raise OperatorError(f"`centre` is {centre}, expected 0 to {lines} lines")
    _enough(total - centre, total, centre, "lines")
    return (~_centre(lines, centre)).nonzero()[:, 0], total - centre, centre


def _total(count: int, acceleration: float) -> int:
    if not 1 <= acceleration < math.inf:
        raise OperatorError(f"`acceleration` is {acceleration}, expected 1 or more")
    return max(2, round(count / acceleration))


def _enough(rest: int, total: int, centre: int, what: str) -> None:
    if rest < 0:
        raise OperatorError(
            f"the acceleration leaves {total} {what}, fewer than the {centre} of the centre: use a "
            "lower `acceleration` or `centre`"
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
