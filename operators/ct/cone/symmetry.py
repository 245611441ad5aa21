r"""Views that symmetries of the volume map to each other.

A symmetry g of the square maps a slice x to :math:`(x \circ g)(p) = x(A_g\,p)`, so that the
integral of :math:`x \circ g` along a ray is that of x along the ray mapped by :math:`A_g`. Where
the views of a scan are closed under a group of symmetries, a few seed views generate all, and the
images of the volume under the group are projected together, as the channels of one volume.

Where the sources are in the middle plane and the detectors are symmetric about it, the rays of the
upper half stay there, and the lower half is its reflection.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.operators.ct.cone.voxel_rays import VoxelRays

SAME = 1e-6
"""Largest difference in voxels, relative to the size of the scan, of equal views."""


@dataclass(frozen=True)
class Element:
    """A symmetry of the square: A p is p with the axes exchanged or not, times signs.

    Attributes:
        swap: whether the axes are exchanged.
        rows: sign of the first component of A p.
        columns: sign of the second component of A p.
    """

    swap: bool
    rows: int
    columns: int

    @property
    def rotation(self) -> bool:
        """True for a rotation, False for a reflection."""
        return (self.rows * self.columns > 0) != self.swap

    @property
    def inverse(self) -> Element:
        """The symmetry h with A_h A = 1."""
        return Element(True, self.columns, self.rows) if self.swap else self

    def point(self, p: Tensor) -> Tensor:
        """A p in voxels from the middle.

        Args:
            p: (..., 3), along (z, rows, columns).
        """
        z, i, j = p.unbind(-1)
        a, b = (j, i) if self.swap else (i, j)
        return torch.stack([z, self.rows * a, self.columns * b], -1)

    def image(self, x: Tensor) -> Tensor:
        """x o g as a view or a copy.

        Args:
            x: (rows, columns, ...).
        """
        axes = [k for k, sign in enumerate((self.rows, self.columns)) if sign < 0]
        flipped = x.flip(axes) if axes else x
        return flipped.transpose(0, 1) if self.swap else flipped

    def preimage(self, y: Tensor) -> Tensor:
        """The x with x o g = y.

        Args:
            y: (rows, columns, ...).
        """
        x = y.transpose(0, 1) if self.swap else y
        axes = [k for k, sign in enumerate((self.rows, self.columns)) if sign < 0]
        return x.flip(axes) if axes else x

    def after(self, other: Element) -> Element:
        """The symmetry h with A_h = A_self A_other, so that x o h = (x o self) o other."""
        a, b = (1, 2) if not self.swap else (2, 1)
        signs = {1: other.rows, 2: other.columns}
        return Element(self.swap != other.swap, self.rows * signs[a], self.columns * signs[b])


IDENTITY, HALF_TURN = Element(False, 1, 1), Element(False, -1, -1)
QUARTER = Element(True, -1, 1)
TURNS = (IDENTITY, QUARTER, HALF_TURN, Element(True, 1, -1))
OCTET = (*TURNS, *(Element(False, a, -a) for a in (1, -1)), *(Element(True, a, a) for a in (1, -1)))
SWAP = Element(True, 1, 1)


@dataclass(frozen=True, eq=False)
class Plan:
    """Seed views and what they generate.

    Attributes:
        elements: the group of symmetries.
        seeds: the seed views, (seeds,).
        images: the view that each symmetry makes of each seed, (seeds, symmetries); -1 where
            another seed or symmetry stands for that view.
        fold: whether the lower half of the views is the reflection of the upper half.
    """

    elements: tuple[Element, ...]
    seeds: tuple[int, ...]
    images: tuple[tuple[int, ...], ...]
    fold: bool


def plan(rays: VoxelRays) -> Plan:
    """The largest group under which the views are closed, and seeds that generate them.

    Args:
        rays: the scan.
    """
    views = len(rays.source)
    fold = _symmetric_about_the_middle(rays)
    _, spacing_y, spacing_x = rays.grid.spacing
    square = rays.grid.shape[1] == rays.grid.shape[2] and spacing_y == spacing_x
    groups = [OCTET, TURNS] if square else []
    for group in (*groups, (IDENTITY, HALF_TURN)):
        found = [_images(rays, g) for g in group]
        if all(f is not None for f in found):
            table = torch.stack([f for f in found if f is not None], 1)
            break
    else:
        group, table = (IDENTITY,), torch.arange(views)[:, None]
    seeds, images, seen = [], [], set()
    for view, row in enumerate(table.tolist()):
        if view in seen:
            continue
        own = []
        for image in row:
            own.append(-1 if image in seen else image)
            seen.add(image)
        seeds.append(view)
        images.append(tuple(own))
    return Plan(group, tuple(seeds), tuple(images), fold)


def _symmetric_about_the_middle(rays: VoxelRays) -> bool:
    """True if the rays of row r and of row R - 1 - r are each other's reflections."""
    size = _size(rays)
    middle = rays.first[..., 0] + (rays.rows - 1) / 2 * rays.step[:, :1]
    level = max(float(rays.source[:, 0].abs().max()), float(middle.abs().max())) <= SAME * size
    return level and bool((rays.step[:, 0] > 0).all())


def _images(rays: VoxelRays, g: Element) -> Tensor | None:
    """The view that g makes of each view, (views,); None if one of them is not of the scan."""
    moved = g.point(rays.first)
    own = torch.cat([rays.source, rays.first[:, 0], rays.first[:, -1], rays.step], 1)
    ends = (moved[:, 0], moved[:, -1]) if g.rotation else (moved[:, -1], moved[:, 0])
    image = torch.cat([g.point(rays.source), *ends, rays.step], 1)
    distance = torch.cdist(image, own, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distance.min(1)
    bijective = len(nearest.indices.unique()) == len(own)
    return (
        nearest.indices if bijective and float(nearest.values.max()) <= SAME * _size(rays) else None
    )


def _size(rays: VoxelRays) -> float:
    return float(rays.first.abs().max()) + float(rays.source.abs().max())
