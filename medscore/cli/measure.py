"""``medscore measure``: what a scanner wrote in, a measurement file out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

import medscore
from medscore.cli import options
from medscore.cli.simulate import tell
from medscore.datasets.load import is_image, prepare
from medscore.datasets.nifti import write_nifti
from medscore.datasets.raw.dicom_ct_pd import is_ct_pd, read_ct_pd
from medscore.datasets.raw.kspace import RawKspace
from medscore.datasets.raw.kspace_files import read_kspace
from medscore.datasets.raw.projections import read_geometry, read_projections
from medscore.datasets.volume import slice_range
from medscore.errors import MedscoreError
from medscore.measurements import from_ct as raw_ct, from_kspace as raw_mri
from medscore.measurements.measurement import write_measurement
from medscore.measurements.tasks import SHAPES, kspace_mask
from medscore.operators.ct.metal import METAL_HU


def measure(
    path: Annotated[
        Path,
        typer.Argument(
            help="fastMRI or ISMRMRD file (.h5), k-space (.npy), CT projections (HDF5 or TIFF with "
            "--geometry, or a folder of DICOM-CT-PD), or a CT image with metal in it."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Measurement file (HDF5).")],
    geometry: Annotated[
        Path | None, typer.Option(help="Of CT projections: a YAML file, see docs/measurement.md.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Reconstruct SIZE x SIZE pixels: the middle of k-space.")
    ] = None,
    spacing: Annotated[
        str | None,
        typer.Option(help="Of the pixels in mm, where the file does not say: MM or COLUMN,ROW."),
    ] = None,
    slices: Annotated[str | None, typer.Option(help="Slices START:STOP; all by default.")] = None,
    maps: Annotated[
        str, typer.Option(help=f"Coil maps: {', '.join(raw_mri.MAPS)}.")
    ] = "low-resolution",
    acceleration: Annotated[
        float | None, typer.Option(help="Drop lines of a fully sampled scan, for experiments.")
    ] = None,
    mask: Annotated[
        str, typer.Option(help=f"Of what is kept then: {', '.join(SHAPES)}.")
    ] = "equispaced",
    seed: Annotated[int, typer.Option(help="Of a drawn mask.")] = 0,
    metal: Annotated[
        float, typer.Option(help="Of a CT image with artifacts: HU over which a pixel is metal.")
    ] = METAL_HU,
    margin: Annotated[
        int, typer.Option(help="Detectors dropped on each side of the metal's shadow.")
    ] = 1,
    series: options.Series = None,
    target: Annotated[
        str | None,
        typer.Option(help=f"Image of the full scan: {', '.join(raw_mri.TARGETS)}."),
    ] = None,
    target_output: Annotated[
        Path | None, typer.Option(help="NIfTI file for it, for `recon --reference`.")
    ] = None,
) -> None:
    """Turn raw data into a measurement that `recon` takes.

    The readout's oversampling goes, and the field of view becomes square.

    Example: medscore measure file1000000.h5 --size 128 -o meas.h5

    Example: medscore measure sinogram.tif --geometry scanner.yaml -o meas.h5

    Example: medscore measure head-with-fillings.dcm --size 128 -o meas.h5

    Example: medscore measure file1000000.h5 --acceleration 4 --target rss
    --target-output truth.nii.gz -o meas.h5
    """
    _check(path, output, size, maps, mask, margin, target, target_output)
    pixels = None if spacing is None else _pixels(spacing)
    truth: NDArray[np.float32] | None = None
    if geometry is not None:
        projections = read_projections(path, read_geometry(geometry))
        made = raw_ct.measurement_of(projections, geometry)
    elif path.is_dir() and is_ct_pd(path):
        if size is None or pixels is None:
            raise MedscoreError(
                "projections do not say the image", where=path, hint="give --size and --spacing"
            )
        projections = read_ct_pd(path, size=size, spacing=pixels[0])
        made = raw_ct.measurement_of(projections, path)
    elif path.is_dir() or is_image(path):
        volume = prepare(path, modality="CT", size=size, slices=slices, series=series)
        made = raw_ct.from_affected(volume, metal, margin, path)
    else:
        raw = _selected(read_kspace(path, spacing=pixels), slices)
        prepared = raw_mri.prepare(raw, size, path)
        shape = (int(prepared.kspace.shape[-2]), int(prepared.kspace.shape[-1]))
        kept = None if acceleration is None else kspace_mask(shape, mask, acceleration, seed)
        made = raw_mri.measurement_of(prepared, raw, maps=maps, mask=kept, where=path)
        truth = None if target is None else raw_mri.target(prepared, target, path)
    write_measurement(output, made, version=medscore.__version__)
    if truth is not None and target_output is not None:
        try:
            write_nifti(target_output, truth, made.affine)
        except MedscoreError:
            output.unlink()  # both or neither
            raise
    tell(output, made)


def _pixels(text: str) -> tuple[float, float]:
    """Between columns and between rows."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(0.01 <= mm <= 100 for mm in numbers):
        raise MedscoreError(f"--spacing {text!r}", hint="use mm, as 1.5 or 1.5,1.2")
    return numbers[0], numbers[-1]


def _selected(raw: RawKspace, slices: str | None) -> RawKspace:
    if slices is None:
        return raw
    start, stop = slice_range(slices, len(raw.kspace))
    return replace(raw, kspace=raw.kspace[start:stop])


def _check(
    path: Path,
    output: Path,
    size: int | None,
    maps: str,
    mask: str,
    margin: int,
    target: str | None,
    target_output: Path | None,
) -> None:
    for name, value, known in (
        ("--maps", maps, tuple(raw_mri.MAPS)),
        ("--mask", mask, tuple(SHAPES)),
        ("--target", target, raw_mri.TARGETS),
    ):
        if value is not None and value not in known:
            raise MedscoreError(f"{name} {value!r}", hint=f"use one of: {', '.join(known)}")
    options.check_size(size)
    if margin < 0:
        raise MedscoreError(f"--margin is {margin}", hint="use 0 or more")
    if (target is None) != (target_output is None):
        raise MedscoreError(
            "--target and --target-output go together", where=path, hint="give both or neither"
        )
    if target_output is not None and not target_output.name.endswith(".nii.gz"):
        raise MedscoreError(
            "--target-output is no NIfTI file", where=target_output, hint="name it .nii.gz"
        )
    options.check_new(output)
    if target_output is not None:
        options.check_new(target_output)
