"""``medscore measure``: scanner data in, a measurement file out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from medscore.cli import options
from medscore.cli.simulate import tell
from medscore.cli.words import MAPS, MASKS, METAL_HU, TARGETS
from medscore.errors import MedscoreError


def measure(
    path: Annotated[
        Path,
        typer.Argument(
            help="k-space (fastMRI or ISMRMRD .h5, Siemens .dat, BART .cfl, .npy, .npz, .mat), CT "
            "projections (.npy, .npz, .mat, HDF5 or TIFF with --geometry, or a folder of "
            "DICOM-CT-PD), or a CT image with metal in it."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Measurement file (HDF5).")],
    geometry: Annotated[
        Path | None,
        typer.Option(
            help="What the file does not state, in a YAML file: geometry of CT projections, or "
            "layout of k-space; see docs/measurement.md."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Key of the geometry: beam=parallel, axes=[readout,phase,coil], ...; repeatable.",
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Reconstruct SIZE x SIZE pixels: the middle of k-space.")
    ] = None,
    spacing: Annotated[
        str | None,
        typer.Option(
            help="Pixel spacing in mm, where the file does not record it: MM or COLUMN,ROW."
        ),
    ] = None,
    slices: Annotated[str | None, typer.Option(help="Slices START:STOP; all by default.")] = None,
    maps: Annotated[
        str, typer.Option(help=f"Estimator of the coil maps: {', '.join(MAPS)}.")
    ] = "low-resolution",
    acceleration: Annotated[
        float | None,
        typer.Option(
            help="Drop lines of a fully sampled scan, or views of a helical one, for experiments."
        ),
    ] = None,
    mask: Annotated[
        str, typer.Option(help=f"Sampling pattern of the lines that are kept: {', '.join(MASKS)}.")
    ] = "equispaced",
    seed: Annotated[int, typer.Option(help="Seed of a random sampling pattern.")] = 0,
    metal: Annotated[
        float, typer.Option(help="CT number in HU above which a pixel of a CT image is metal.")
    ] = METAL_HU,
    margin: Annotated[
        int, typer.Option(help="Detectors dropped on each side of the metal trace.")
    ] = 1,
    series: options.Series = None,
    select: Annotated[
        str | None,
        typer.Option(
            help="Image of an ISMRMRD, twix or BART file with several, as "
            "contrast=1,repetition=0; also encoding (space), phase, set and segment."
        ),
    ] = None,
    resample: Annotated[
        bool, typer.Option(help="Interpolate uneven or tilted slices onto an even, upright grid.")
    ] = False,
    channel: options.Channel = None,
    accept: options.Accept = None,
    target: Annotated[
        str | None,
        typer.Option(help=f"Image of the fully sampled scan: {', '.join(TARGETS)}."),
    ] = None,
    target_output: Annotated[
        Path | None, typer.Option(help="NIfTI file for that image, for `recon --reference`.")
    ] = None,
) -> None:
    """Turn raw data into a measurement that `recon` takes.

    The oversampling of the readout is removed, and the field of view becomes square.

    Example: medscore measure file1000000.h5 --size 128 -o meas.h5

    Example: medscore measure sinogram.tif --geometry scanner.yaml -o meas.h5

    Example: medscore measure sinogram.npy --set beam=parallel --set views=180
    --set detector_spacing=0.7 -o meas.h5

    Example: medscore measure meas_MID00025_FID115636.dat -o meas.h5

    Example: medscore measure kspace.cfl --spacing 1.2 -o meas.h5

    Example: medscore measure head-with-fillings.dcm --size 128 -o meas.h5

    Example: medscore measure file1000000.h5 --acceleration 4 --target rss
    --target-output truth.nii.gz -o meas.h5
    """
    from medscore.datasets.nifti import write_nifti
    from medscore.measurements.measurement import write_measurement
    from medscore.measurements.read import measure as read

    if (target is None) != (target_output is None):
        raise MedscoreError(
            "`target` and `target_output` go together", where=path, hint="set both or neither"
        )
    if target_output is not None and not target_output.name.endswith(".nii.gz"):
        raise MedscoreError(
            "`target_output` is not a NIfTI file", where=target_output, hint="name it .nii.gz"
        )
    for file in (output, target_output):
        if file is not None:
            options.check_new(file)
    made, truth = read(
        path,
        geometry=_geometry(geometry, set_ or []),
        size=size,
        spacing=None if spacing is None else _pair(spacing),
        slices=slices,
        maps=maps,
        acceleration=acceleration,
        mask=mask,
        seed=seed,
        metal=metal,
        margin=margin,
        series=series,
        resample=resample,
        channel=channel,
        accept=tuple(accept or ()),
        target=target,
        select=select,
    )
    write_measurement(output, made)
    if truth is not None and target_output is not None:
        try:
            write_nifti(target_output, truth, made.affine)
        except MedscoreError:
            output.unlink()  # both or neither
            raise
    tell(output, made)


def _geometry(file: Path | None, settings: list[str]) -> Path | dict[str, Any] | None:
    """A geometry file, or its fields with those that are set."""
    from medscore.datasets.raw.scan_geometry import read_geometry
    from medscore.io.yaml_files import parse_yaml

    if not settings:
        return file
    fields = {} if file is None else read_geometry(file)
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            raise MedscoreError(
                f"`set` is {setting!r}", hint="use KEY=VALUE, such as beam=parallel"
            )
        fields[name.strip()] = parse_yaml(
            value.encode(), f"`set` {name}", hint="write the value as in YAML"
        )
    return fields


def _pair(text: str) -> tuple[float, float]:
    """Spacing between columns and between rows, from MM or COLUMN,ROW."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise MedscoreError(f"`spacing` is {text!r}", hint="use mm, such as 1.5 or 1.5,1.2")
    return numbers[0], numbers[-1]
