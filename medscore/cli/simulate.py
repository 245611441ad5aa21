"""``medscore simulate``: an image in, a measurement file out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.markup import escape

import medscore
from medscore.cli import options
from medscore.cli.progress import console
from medscore.datasets.load import prepare
from medscore.errors import MedscoreError
from medscore.measurements.measurement import ATTENUATION, LARGEST, Measurement, write_measurement
from medscore.measurements.simulate import simulate as scan
from medscore.measurements.tasks import NEEDS, SHAPES, TASKS, Choices
from medscore.registry.noise import noise_model

DEFAULTS = Choices()


def simulate(
    image: Annotated[Path, typer.Argument(help="DICOM file, folder of DICOM files, or NIfTI.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Measurement file (HDF5).")],
    task: Annotated[str, typer.Option(help=f"What is measured: {', '.join(TASKS)}.")] = "sparse-ct",
    views: Annotated[
        int, typer.Option(help="Equally spaced views over 180 degrees (sparse-ct, sparse-mar).")
    ] = DEFAULTS.views,
    arc: Annotated[float, typer.Option(help="Degrees of limited-angle.")] = DEFAULTS.arc,
    acceleration: Annotated[
        float, typer.Option(help="Lines over lines taken, the centre included (MRI).")
    ] = DEFAULTS.acceleration,
    mask: Annotated[str, typer.Option(help=f"Of k-space: {', '.join(SHAPES)}.")] = DEFAULTS.mask,
    coils: Annotated[int, typer.Option(help="Of mri-multicoil.")] = DEFAULTS.coils,
    factor: Annotated[int, typer.Option(help="Of sr: pixels of a block.")] = DEFAULTS.factor,
    blur: Annotated[float, typer.Option(help="Of deblur: deviation in pixels.")] = DEFAULTS.blur,
    hidden: Annotated[
        float, typer.Option(help="Of inpaint: share of the sides that is hidden.")
    ] = DEFAULTS.hidden,
    implant: Annotated[
        list[str] | None,
        typer.Option(help="Of mar: a titanium disc X,Y,RADIUS in mm from the centre; repeatable."),
    ] = None,
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
        typer.Option(help="none, gaussian:STD in the data's unit, or poisson:PHOTONS per ray."),
    ] = "none",
    seed: Annotated[int, typer.Option(help="Seed of the noise and of drawn masks.")] = 0,
) -> None:
    """Simulate a partial measurement of a real image.

    Example: medscore simulate scan.dcm --task sparse-ct --views 23 --size 128 -o meas.h5

    Example: medscore simulate volume.nii.gz --slices 40:44 --size 128 --noise poisson:1e5 -o m.h5

    Example: medscore simulate t1.nii.gz --task mri --acceleration 8 --size 128 -o meas.h5
    """
    if task not in TASKS:
        raise MedscoreError(f"no task {task!r}", hint=f"use one of: {', '.join(TASKS)}")
    if not 1 <= views <= 10_000:
        raise MedscoreError(f"--views is {views}", hint="use a number from 1 to 10000")
    if not 0 <= seed < 2**40:
        raise MedscoreError(f"--seed is {seed}", hint="use 0 to 1099511627775")
    options.check_size(size)
    options.check_new(output)
    choices = Choices(
        views=views, arc=arc, acceleration=acceleration, mask=mask, coils=coils, factor=factor,
        blur=blur, hidden=hidden, implants=tuple(_implant(text) for text in implant or []),
        noise=noise_model(noise), seed=seed,
    )  # fmt: skip
    volume = prepare(
        image, modality=NEEDS.get(task), size=size, slices=slices, series=series,
        resample=resample, channel=channel,
    )  # fmt: skip
    measurement = scan(volume, task, choices, noise_name=noise, seed=seed)
    largest = float(np.abs(measurement.data).max())
    limit = LARGEST if measurement.image_unit == ATTENUATION else np.finfo(np.float32).max
    if not largest <= limit:  # NaN too
        raise MedscoreError(
            f"with --noise {noise} the data reach {largest:g}",
            where=image,
            hint="use an image in HU and the noise of a scan",
        )
    write_measurement(output, measurement, version=medscore.__version__)
    tell(output, measurement)


def tell(output: Path, m: Measurement) -> None:
    """Say what was noticed, and what was written."""
    for note in m.source.notes:
        console.print(f"note: {escape(note)}")
    console.print(f"{escape(str(output))}: {len(m.data)} slice(s), {m.operator}")


def _implant(text: str) -> tuple[float, float, float]:
    try:
        x, y, radius = (float(part) for part in text.split(","))
    except ValueError:
        x = y = radius = math.nan
    if not (math.isfinite(x) and math.isfinite(y) and 0 < radius < math.inf):
        raise MedscoreError(f"--implant {text!r}", hint="use X,Y,RADIUS in mm, as -20,0,5")
    return x, y, radius
