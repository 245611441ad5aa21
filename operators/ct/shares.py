r"""The angle that each view of a scan stands for in filtered back-projection.

It is half the gap to the neighbour on each side, so that the shares sum to the angle of the scan,
whatever the gaps: the trapezoidal rule on a circle of directions. Views at the same angle divide
its share. A parallel beam repeats after half a turn, a fan beam after a full one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

OPEN = 3.0
"""A gap that is wider than this multiple of every other gap is no part of the scan."""

HOLE = math.radians(10)
"""Least width of the gap that leaves half a turn open, and of several gaps that leave a fan beam's
turn open."""

SAME = 1e-9
"""Angles that differ by less, in radians, are the same."""


@dataclass(frozen=True)
class Arcs:
    """Views on a full turn.

    Attributes:
        shares: the angle that each view stands for, (views,).
        ends: start and length of each arc that the views cover, in radians; none if they cover the
            whole turn.
    """

    shares: Tensor
    ends: tuple[tuple[float, float], ...] = ()


def half_turn_shares(angles: Tensor) -> Tensor:
    """The shares of parallel views, (views,).

    Views within half a turn sum to half a turn, unless the gap from the last to the first is wider
    than :data:`HOLE` and :data:`OPEN` times any gap between them. Then the scan is of a limited
    arc and they sum to that arc, in which the first and the last view stand for the gap next to
    them. Views over half a turn or more sum to half a turn.

    Args:
        angles: angles of the views in radians, in any order, (views,).
    """
    span = float(angles.max() - angles.min())
    if span > math.pi - SAME:
        return _closed(*_distinct(angles, math.pi), math.pi)
    return _row(*_distinct(angles, math.inf), math.pi)


def turn_arcs(angles: Tensor, *, bridged: bool = False) -> Arcs:
    """The shares of views on a full turn, and the arcs that they cover.

    Gaps are left out if they are wider than :data:`OPEN` times all others: one, or up to four of at
    least :data:`HOLE`.

    Args:
        angles: angles of the views in radians, in any order, (views,).
        bridged: whether to leave out none.
    """
    turn = 2 * math.pi
    distinct, place, copies = _distinct(angles, turn)
    gaps = torch.cat([distinct[1:], distinct[:1] + turn]) - distinct
    wide = gaps.sort(descending=True).values.tolist()
    holes = next(
        (
            n
            for n in range(1, min(5, len(wide)))
            if wide[n - 1] > OPEN * wide[n] + 9 * SAME and (n == 1 or wide[n - 1] >= HOLE)
        ),
        0,
    )
    if not holes or bridged:
        return Arcs(_closed(distinct, place, copies, turn))
    after = sorted(int(i) for i in gaps.argsort(descending=True)[:holes])  # views before a hole
    first = (after[-1] + 1) % len(distinct)
    rolled, unrolled = distinct.roll(-first), gaps.roll(-first)
    start = rolled[0] + torch.cat([torch.zeros(1, dtype=gaps.dtype), unrolled[:-1].cumsum(0)])
    stops = sorted((i - first) % len(distinct) + 1 for i in after)
    shares, ends, begin = torch.empty_like(gaps), [], 0
    for stop in stops:
        own = start[begin:stop]
        inner = own.diff()
        edges = (inner[:1], inner[-1:]) if len(inner) else (inner.new_zeros(1),) * 2
        around = torch.cat([edges[0], inner, edges[1]])
        shares[begin:stop] = (around[1:] + around[:-1]) / 2
        low = float(own[0] - edges[0] / 2)
        ends.append((low, float(own[-1] + edges[1] / 2) - low))
        begin = stop
    return Arcs((shares.roll(first) / copies)[place], tuple(ends))


def _distinct(angles: Tensor, turn: float) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct angles in order, the place of each view among them, and how many views each has."""
    shifted = angles + SAME / 2  # so that an angle just below a turn is the one at 0
    folded = shifted if math.isinf(turn) else shifted.remainder(turn)
    steps, place, copies = torch.unique(
        (folded / SAME).floor(), return_inverse=True, return_counts=True
    )
    return steps * SAME, place, copies


def _closed(distinct: Tensor, place: Tensor, copies: Tensor, turn: float) -> Tensor:
    gaps = torch.cat([distinct[1:], distinct[:1] + turn]) - distinct
    return ((gaps + gaps.roll(1)) / 2 / copies)[place]


def _row(distinct: Tensor, place: Tensor, copies: Tensor, turn: float) -> Tensor:
    inner = distinct.diff()
    rest = turn - float(distinct[-1] - distinct[0])
    if not len(inner) or rest <= max(HOLE, OPEN * float(inner.max())) + 9 * SAME:
        return _closed(distinct, place, copies, turn)
    around = torch.cat([inner[:1], inner, inner[-1:]])
    return ((around[1:] + around[:-1]) / 2 / copies)[place]
