"""``medscore simulate``: an image in, a measurement file out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.markup import escape

import medscore
from medscore.cli import options, registry
from medscore.cli.progress import console
from medscore.datasets.load import load_image
from medscore.datasets.measurement import LARGEST, write_measurement
from medscore.datasets.volume import Volume, check_values, reduce, require_ct
from medscore.errors import MedscoreError
from medscore.simulation import simulate_sparse_ct


def simulate(
    image: Annotated[Path, typer.Argument(help="DICOM file, folder of DICOM files, or NIfTI.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Measurement file (HDF5).")],
    task: Annotated[str, typer.Option(help="What is measured: sparse-ct.")] = "sparse-ct",
    views: Annotated[int, typer.Option(help="Equally spaced views over 180 degrees.")] = 23,
    size: Annotated[
        int | None, typer.Option(help="Reduce slices to SIZE x SIZE by area mean.")
    ] = None,
    slices: Annotated[
        str | None, typer.Option(help="Slices START:STOP to measure; all by default.")
    ] = None,
    series: options.Series = None,
    resample: Annotated[
        bool,
        typer.Option(help="Uneven or leaning slices onto an even, upright grid."),
    ] = False,
    channel: options.Channel = None,
    noise: Annotated[
        str,
        typer.Option(help="none, gaussian:STD (of a line integral) or poisson:PHOTONS per ray."),
    ] = "none",
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
) -> None:
    """Simulate a partial measurement of a real image.

    Example: medscore simulate scan.dcm --task sparse-ct --views 23 --size 128 -o meas.h5

    Example: medscore simulate volume.nii.gz --slices 40:44 --size 128 --noise poisson:1e5 -o m.h5
    """
    if task not in registry.TASKS:
        raise MedscoreError(f"no task {task!r}", mend=f"use one of: {', '.join(registry.TASKS)}")
    if not 1 <= views <= 10_000:
        raise MedscoreError(f"--views is {views}", mend="use a number from 1 to 10000")
    if not 0 <= seed < 2**40:
        raise MedscoreError(f"--seed is {seed}", mend="use 0 to 1099511627775")
    if size is not None and size < 8:
        raise MedscoreError(f"--size is {size}", mend="use at least 8")
    if output.exists():
        raise MedscoreError(
            "the output file exists already", where=output, mend="choose a new one or remove it"
        )
    model = registry.noise(noise)
    volume = prepare_ct(
        image, size=size, slices=slices, series=series, resample=resample, channel=channel
    )
    measurement = simulate_sparse_ct(volume, views=views, noise=model, noise_name=noise, seed=seed)
    if not np.abs(measurement.data).max() <= LARGEST:  # NaN too
        raise MedscoreError(
            f"with --noise {noise} the data reach {np.abs(measurement.data).max():g}",
            where=image,
            mend="use an image in HU and the noise of a scan",
        )
    operator = registry.operator(measurement, output)
    write_measurement(output, measurement, version=medscore.__version__)
    for note in volume.source.notes:
        console.print(f"note: {escape(note)}")
    console.print(f"{escape(str(output))}: {len(volume.values)} slice(s), {operator}")


def prepare_ct(
    image: Path,
    *,
    size: int | None,
    slices: str | None = None,
    series: str | None = None,
    resample: bool = False,
    channel: int | None = None,
) -> Volume:
    """Load, check, select and reduce a CT image.

    Raises:
        MedscoreError: what :func:`~medscore.datasets.load.load_image` and
            :func:`~medscore.datasets.volume.require_ct` refuse, or a bad slice range.
    """
    volume = load_image(image, series=series, resample=resample, channel=channel)
    require_ct(volume, image)
    if slices is not None:
        volume = volume.select(*_range(slices, len(volume.values)))
    check_values(volume.values, image)
    volume = replace(volume, values=volume.values.clip(min=-1000.0))
    check_values(volume.values, image)  # nothing but padding is constant now
    return volume if size is None else reduce(volume, size, image)


def _range(text: str, count: int) -> tuple[int, int]:
    try:
        start, stop = (int(part) for part in text.split(":"))
    except ValueError:
        start, stop = 0, -1
    if not 0 <= start < stop <= count:
        raise MedscoreError(
            f"--slices {text!r} of a volume with {count} slices",
            mend=f"use START:STOP in 0:{count}",
        )
    return start, stop
