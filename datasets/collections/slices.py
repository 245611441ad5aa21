"""Training slices: axial CT or MR images of whole collections, all on one grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscore.datasets.collections.archives import is_archive, read_archive
from medscore.datasets.collections.public import Images
from medscore.datasets.collections.slice_cache import SliceCache, Slices
from medscore.datasets.collections.sources import find_images, log_notes
from medscore.datasets.fit import SQUARE, Fit, fit_grid
from medscore.datasets.load import read_scan
from medscore.datasets.raw.fastmri import read_targets
from medscore.datasets.selection import WHOLE, Selection, refuse_choices
from medscore.datasets.volume import Volume
from medscore.errors import MedscoreError
from medscore.io.machine import cores

Quantity = Literal["HU", "magnitude"]

MODALITY = {"HU": "CT", "magnitude": "MR"}
"""Modality that has each quantity."""

FULL = 0.995
"""Quantile of a magnitude slice that becomes 1, because magnitudes have no absolute unit."""

FAINT = 0.25
"""A magnitude slice whose quantile is at most this share of its scan's largest is mostly air."""

CONTENT = 0.02
"""Slices with a smaller standard deviation, in the network's range, are left out."""


def load_slices(
    patterns: Sequence[str],
    *,
    root: str | Path,
    side: int,
    low: float,
    high: float,
    quantity: Quantity = "HU",
    chosen: Selection = WHOLE,
    cache: str | Path | None = None,
    beside: Sequence[str] = (),
    skip: bool = False,
) -> Slices:
    """Load every axial slice of the matching files, on a grid of ``side`` x ``side`` pixels.

    DICOM and NIfTI files are read by :func:`medscore.datasets.load.read_scan`. ``.npz`` archives
    of slices hold ``hu`` or ``image`` (n, H, W), ``patient`` (n,) and, if known,
    ``pixel_spacing_mm`` (n,) or (n, 2).
    Values are mapped from [low, high] to [0, 1], and HU are clipped to it. The grid shows the whole
    slice in square pixels by area mean, with zeros around a slice that is not square or has fewer
    pixels (:mod:`medscore.datasets.fit`). Slices with next to no content are left out. Files are
    read in parallel by MONAI's CacheDataset.

    Args:
        patterns: see :func:`medscore.datasets.collections.sources.find_images`.
        root: data folder.
        side: pixels per side.
        low: value that is mapped to 0.
        high: value that is mapped to 1.
        quantity: "HU" for CT, "magnitude" for MR.
        chosen: what is read of files that hold more than one image, and the kinds that are used.
        cache: folder that keeps the slices (:mod:`medscore.datasets.collections.slice_cache`).
        beside: patterns of other files that tell patients apart, see
            :func:`medscore.datasets.collections.sources.find_images`.
        skip: leave out what cannot be used, and log it, instead of refusing it.

    Raises:
        MedscoreError: no file matches, a file is unreadable, of another modality or smaller than
            ``side``, or no slice has content.
    """
    # imported here because MONAI takes seconds to import
    from monai.data.dataset import CacheDataset
    from monai.transforms.utility.array import Lambda

    root = Path(root)
    kept = (
        None
        if cache is None
        else SliceCache(Path(cache), f"{side} {low} {high} {quantity} {chosen}")
    )
    read = Lambda(_Read(side, low, high, quantity, chosen, kept, skip), track_meta=False)
    found = find_images(patterns, root, beside=beside, series=chosen.series, skip=skip)
    try:
        files = CacheDataset(found, read, num_workers=cores(), progress=False)
    except RuntimeError as error:
        raise _innermost(error) from None  # MONAI wraps what the reader raises
    if kept is not None:
        kept.save()
    parts = [files[i] for i in range(len(files))]
    log_notes((i.name, note) for i, part in zip(found, parts, strict=True) for note in part.notes)
    images = torch.cat([part.images for part in parts])
    if not len(images):
        raise MedscoreError(
            "no slice has content", where=root, hint="check the data and the range low..high"
        )
    return Slices(
        images,
        np.concatenate([part.spacing_mm for part in parts]),
        tuple(patient for part in parts for patient in part.patients),
        tuple(scan for part in parts for scan in part.scans),
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ is not None and not isinstance(error, MedscoreError):
        error = error.__cause__
    return error


@dataclass(frozen=True)
class _Read:
    """Reads the slices with content of one scan."""

    side: int
    low: float
    high: float
    quantity: Quantity
    chosen: Selection = WHOLE
    cache: SliceCache | None = None
    skip: bool = False

    def __call__(self, images: Images) -> Slices:
        try:
            if self.cache is None:
                found = self.read(images)
            else:
                found = self.cache.get(images.patient, images.files, lambda: self.read(images))
        except MedscoreError as error:
            if not self.skip:
                raise
            nothing = torch.zeros((0, self.side, self.side), dtype=torch.float16)
            found = Slices(nothing, np.zeros(0), (), notes=(f"left out: {error.what}",))
        return replace(found, scans=(images.name,) * len(found.images))

    def read(self, source: Images) -> Slices:
        """Read the slices from the files."""
        path = source.files[0]
        scan = _raw_slices(source, MODALITY[self.quantity], self.chosen)
        values = scan.values
        if self.quantity == "magnitude" and values.min() < 0:
            raise MedscoreError(
                f"the lowest value is {values.min():g}, but magnitudes are not negative",
                where=path,
                hint="if this is CT, set `quantity` to HU in the recipe",
            )
        if min(values.shape[1:]) < self.side // 2:
            raise MedscoreError(
                f"slices of {values.shape[1]}x{values.shape[2]} do not reduce to "
                f"{self.side}x{self.side}",
                where=path,
                hint="use larger slices",
            )
        scaled = (torch.from_numpy(values) - self.low) / (self.high - self.low)
        if self.quantity == "HU":
            scaled = scaled.clamp(0, 1)
        grid = _grid(values.shape[1:], scan.ratio, self.side)
        images = torch.from_numpy(grid.apply(scaled.numpy()))
        images = images.clamp(0, 1) if self.quantity == "HU" else images.clamp_min(0)
        if self.quantity == "magnitude":
            images = _in_own_units(images, scan.patients)
        kept = [i for i in range(len(images)) if float(images[i].std()) >= CONTENT]
        return Slices(
            images[kept].half(),
            scan.spacing_mm[kept] * grid.columns.step,
            tuple(scan.patients[i] for i in kept),
            notes=scan.notes,
        )


@dataclass(frozen=True)
class _RawSlices:
    """Slices (n, H, W) in the unit of the file, their pixel spacings (n,), patients and notes, and
    the ratio of the spacings of rows and columns."""

    values: NDArray[np.float32]
    spacing_mm: NDArray[np.float64]
    patients: list[str]
    notes: tuple[str, ...] = ()
    ratio: float = 1.0


def _raw_slices(source: Images, modality: str, chosen: Selection) -> _RawSlices:
    path = source.files[0]
    archive = is_archive(path)
    if archive or path.suffix == ".h5":
        refuse_choices(chosen, path)
    if archive:
        return _RawSlices(*read_archive(path))
    if path.suffix == ".h5":
        values, spacing = read_targets(path)
        n = len(values)
        return _RawSlices(values, np.full(n, spacing), [source.patient] * n)
    volumes = read_scan(source.files, modality=modality, **asdict(chosen))
    shapes = sorted({_shape(volume) for volume in volumes})
    if len(shapes) > 1:
        raise MedscoreError(
            f"slices differ in size: {shapes[0][:2]} and {shapes[-1][:2]}, of pixels "
            f"{shapes[0][2]:g} and {shapes[-1][2]:g} times as high as wide",
            where=path.parent,
            hint="leave out the scout image, or put one series in a folder",
        )
    values = np.concatenate([volume.values for volume in volumes])
    return _RawSlices(
        values,
        np.concatenate([np.full(len(v.values), v.spacing[0]) for v in volumes]),
        [source.patient] * len(values),
        tuple(dict.fromkeys(note for volume in volumes for note in volume.source.notes)),
        shapes[0][2],
    )


def _shape(volume: Volume) -> tuple[int, int, float]:
    """Rows, columns, and the ratio of their spacings."""
    (_, rows, columns), (x, y, _) = volume.values.shape, volume.spacing
    return rows, columns, 1.0 if abs(y / x - 1) <= SQUARE else round(y / x, 4)


def _grid(shape: tuple[int, ...], ratio: float, side: int) -> Fit:
    """The fit that shows all of a slice, in pixels that are not finer than its own."""
    return fit_grid(shape, (ratio, 1.0), side, (min(ratio, 1.0), math.inf))


def _in_own_units(images: Tensor, names: Sequence[str]) -> Tensor:
    """Each slice divided by its own quantile ``FULL``; zero if this is small for the scan."""
    full = torch.quantile(images.flatten(1), FULL, dim=1)
    strongest: dict[str, float] = {}
    for name, value in zip(names, full.tolist(), strict=True):
        strongest[name] = max(strongest.get(name, 0.0), value)
    faint = full <= FAINT * torch.tensor([strongest[name] for name in names])
    unit = torch.where(faint, torch.inf, full)
    return images / unit[:, None, None]
