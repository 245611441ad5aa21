"""From CT projections, or a CT image with metal artifacts, to a measurement."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medscore.datasets.raw.projections import Projections, ScanGeometry
from medscore.datasets.volume import Volume, centred_affine
from medscore.errors import MedscoreError
from medscore.hounsfield import MU_WATER, hu_to_mu
from medscore.measurements.measurement import ATTENUATION, Measurement
from medscore.operators.ct.metal import estimate_metal, metal_trace, without_metal
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.scans import (
    fan_sparse_view,
    fan_view_list,
    full_grid,
    sparse_view,
    view_list,
)


def from_projections(projections: Projections, where: str | Path) -> Measurement:
    """Put measured views into their places on the full grid of views, with zeros between them.

    Args:
        projections: line integrals and their geometry.
        where: file to name in errors: that of the geometry.

    Raises:
        MedscoreError: the source lies within the image, or the axis beside the detector.
    """
    slices, _, detectors = projections.data.shape
    geometry = projections.geometry
    size, spacing = geometry.grid(detectors)
    order, angles = _ordered(geometry)
    try:
        operator = _operator(geometry, detectors, angles)
    except ValueError as error:
        raise MedscoreError(str(error), where=where, hint="correct the geometry file") from error
    data = np.zeros((slices, 1, *operator.grid_shape), dtype=np.float32)
    data[:, 0, operator.measured.numpy()] = projections.data[:, order]
    return Measurement(
        data=data,
        operator=operator,
        task="ct-projections",
        modality="CT",
        image_unit=ATTENUATION,
        mu_water=geometry.mu_water,
        noise="unknown",
        affine=centred_affine(
            size,
            size,
            (spacing, spacing, geometry.slice_spacing),
        ),
        source=projections.source,
    )


def from_metal_image(
    volume: Volume, threshold: float, margin: int, where: str | Path
) -> Measurement:
    """Sinogram of images with metal artifacts, without the rays through metal (Song et al. 2022,
    B.6.5).

    Pixels above the threshold are metal; the rays that cross them are dropped, and the image's own
    line integrals are kept along all others. Projections from the scanner would be better, but
    images are what is usually available.

    Args:
        volume: CT slices in HU.
        threshold: CT number in HU above which a pixel is metal.
        margin: detectors dropped on each side of the metal trace.
        where: file to name in errors.

    Raises:
        MedscoreError: there is no metal, or no ray beside it.
    """
    size = volume.values.shape[1]
    full = sparse_view(size, volume.spacing[0], full_grid(1, size))
    data = np.zeros((len(volume.values), 1, *full.grid_shape), dtype=np.float32)
    masks = torch.zeros(data.shape, dtype=torch.bool)
    shown = np.full(volume.values.shape, math.nan, dtype=np.float32)
    for index, image in enumerate(volume.values):
        hu = torch.from_numpy(image).float()[None, None]
        metal = estimate_metal(hu, threshold=threshold)
        shown[index] = torch.where(metal, hu, math.nan)[0, 0].numpy()
        try:
            trace = metal_trace(metal, full.geometry, margin=margin)
            masks[index] = without_metal(full.diagonal, trace)[0]
        except ValueError as error:
            raise MedscoreError(str(error), where=where, hint="increase `metal`") from error
        data[index] = (full.forward(hu_to_mu(hu)) * masks[index])[0].numpy()
    if np.isnan(shown).all():
        raise MedscoreError(
            f"no pixel is brighter than {threshold:g} HU: there is no metal",
            where=where,
            hint="decrease `metal`, or use `medscore simulate`",
        )
    return Measurement(
        data=data,
        operator=Radon(full.geometry, masks),
        task="mar",
        modality="CT",
        image_unit=ATTENUATION,
        mu_water=MU_WATER,
        noise="estimate:uniform",
        affine=volume.affine,
        source=volume.source,
        metal=shown,
    )


def _ordered(g: ScanGeometry) -> tuple[slice | NDArray[np.intp], list[float]]:
    """The order in which the views of a list ascend, and their angles in radians, then.

    Whole turns are subtracted: from the list where it spans less than one, so that it lies within
    a turn of 0, otherwise view by view.
    """
    if g.degrees is None:
        return slice(None), []
    degrees = np.asarray(g.degrees, dtype=np.float64)
    turns = (degrees.min() if np.ptp(degrees) < 360 else degrees) + 180
    degrees = degrees - 360 * np.floor(turns / 360)
    degrees = degrees - (360 if degrees.max() > 360 else 0)
    order = np.argsort(degrees, kind="stable")
    return order, [math.radians(a) for a in degrees[order]]


def _operator(g: ScanGeometry, detectors: int, angles: list[float]) -> Radon:
    """The full grid of views of the scan, with the detector of the file."""
    size, spacing = g.grid(detectors)
    if g.beam == "fan":
        assert g.source_distance is not None
        assert g.detector_distance is not None
        scan: dict[str, Any] = {
            "source_distance": g.source_distance,
            "detector_distance": g.detector_distance,
            "detector_shape": g.detector_shape,
        }
        if angles:
            few = fan_view_list(size, spacing, angles, **scan)
        else:
            few = fan_sparse_view(size, spacing, g.count, **scan)
    elif angles:
        few = view_list(size, spacing, angles)
    else:
        few = sparse_view(size, spacing, g.count)
    full = replace(
        few.geometry,
        detectors=detectors,
        detector_spacing=g.detector_spacing,
        detector_offset=g.offset(detectors),
    )
    return Radon(full, few.diagonal)
