"""``medscore simulate``: an image in, a measurement file out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from medscore.cli import options
from medscore.cli.progress import console
from medscore.cli.words import MAPS, MASKS, PHASES, SCAN, TASKS, TRAJECTORIES
from medscore.errors import MedscoreError

if TYPE_CHECKING:
    from medscore.measurements.measurement import Measurement


INVERSE_CRIME = (
    "noise-free data on the grid of the reconstruction (the dissertation's protocol) favour every "
    "method; for results to publish use --noise poisson:1e5"
)
"""What is said of data that the operator explains exactly."""


def _shown(name: str) -> str:
    """Default of a parameter of the scan, as the help shows it."""
    return str(SCAN[name])


def simulate(
    image: Annotated[
        Path,
        typer.Argument(
            help="DICOM file, folder, .zip or DICOMDIR; NIfTI, NRRD, MetaImage; .npy, .npz, .mat."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Measurement file (HDF5).")],
    task: Annotated[str, typer.Option(help=f"What is measured: {', '.join(TASKS)}.")] = "sparse-ct",
    views: Annotated[
        int | None,
        typer.Option(
            help="Equally spaced views over 180 degrees (sparse-ct, sparse-mar), or 360 (cone-ct).",
            show_default=_shown("views"),
        ),
    ] = None,
    arc: Annotated[
        float | None,
        typer.Option(help="Angular range in degrees (limited-angle).", show_default=_shown("arc")),
    ] = None,
    source_distance: Annotated[
        float | None,
        typer.Option(
            help="Distance from the source to the axis in mm (cone-ct).",
            show_default=_shown("source_distance"),
        ),
    ] = None,
    acceleration: Annotated[
        float | None,
        typer.Option(
            help="All k-space lines over measured lines, centre included; or spokes or arms of a "
            "complete scan over measured ones (mri, mri-multicoil).",
            show_default=_shown("acceleration"),
        ),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            help=f"Sampling pattern of Cartesian lines: {', '.join(MASKS)}.",
            show_default=_shown("mask"),
        ),
    ] = None,
    trajectory: Annotated[
        str | None,
        typer.Option(
            help=f"Trajectory of k-space (mri, mri-multicoil): {', '.join(TRAJECTORIES)}; those "
            "that are not Cartesian need the extra nufft.",
            show_default=_shown("trajectory"),
        ),
    ] = None,
    phase: Annotated[
        str | None,
        typer.Option(
            help=f"Phase of the image (mri, mri-multicoil): {', '.join(PHASES)} (as of scanners).",
            show_default=_shown("phase"),
        ),
    ] = None,
    coils: Annotated[
        int | None,
        typer.Option(help="Receiver coils (mri-multicoil).", show_default=_shown("coils")),
    ] = None,
    maps: Annotated[
        str | None,
        typer.Option(
            help="Coil maps of the reconstruction (mri-multicoil): known, or estimated from the "
            f"simulated data: {', '.join(MAPS)}.",
            show_default=_shown("maps"),
        ),
    ] = None,
    factor: Annotated[
        int | None,
        typer.Option(
            help="Side of the averaged blocks in pixels (sr).", show_default=_shown("factor")
        ),
    ] = None,
    blur: Annotated[
        float | None,
        typer.Option(
            help="Standard deviation of the blur in pixels (deblur).", show_default=_shown("blur")
        ),
    ] = None,
    hidden: Annotated[
        float | None,
        typer.Option(
            help="Share of the sides that is hidden (inpaint).", show_default=_shown("hidden")
        ),
    ] = None,
    implants: Annotated[
        list[str] | None,
        typer.Option(
            "--implant",
            help="Titanium disc X,Y,RADIUS in mm from the centre (mar, sparse-mar); repeatable.",
        ),
    ] = None,
    finer: Annotated[
        int | None,
        typer.Option(
            help="How many times finer than the grid of the reconstruction, at least, the object "
            "is that is measured, by detectors with a width (CT). 1 with noise none is the "
            "dissertation's protocol.",
            show_default="2 with noise, 1 without",
        ),
    ] = None,
    spectrum: Annotated[
        float | None,
        typer.Option(
            help="Tube voltage in kV: a polychromatic beam, corrected for water (CT; extra metal).",
            show_default="one energy; 120 with implants",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            help="Reconstruct SIZE x SIZE square pixels. CT on a finer grid is measured from the "
            "image's own matrix, everything else from the area means."
        ),
    ] = None,
    slices: Annotated[
        str | None, typer.Option(help="Slices START:STOP to measure; all by default.")
    ] = None,
    series: options.Series = None,
    resample: Annotated[
        bool,
        typer.Option(help="Interpolate uneven or tilted slices onto an even, upright grid."),
    ] = False,
    channel: options.Channel = None,
    array: options.Array = None,
    spacing: options.ImageSpacing = None,
    modality: Annotated[
        str | None,
        typer.Option(help="CT or MR, for files that do not state it. Default: by the values."),
    ] = None,
    accept: options.Accept = None,
    noise: Annotated[
        str,
        typer.Option(
            help="none, gaussian:STD in the data's unit, or poisson:PHOTONS[,ELECTRONIC] per ray: "
            "photons, and standard deviation of the electronic noise in photons."
        ),
    ] = "none",
    seed: Annotated[
        int, typer.Option(help="Seed of the noise and of random sampling patterns.")
    ] = 0,
) -> None:
    """Simulate a partial measurement of a real image.

    Example: medscore simulate scan.dcm --task sparse-ct --views 23 --size 128 -o meas.h5

    Example: medscore simulate volume.nii.gz --slices 40:44 --size 128 --noise poisson:1e5 -o m.h5

    Example: medscore simulate t1.nii.gz --task mri --acceleration 8 --size 128 -o meas.h5
    """
    from medscore.datasets.fit import reduce
    from medscore.datasets.load import load_image
    from medscore.measurements.measurement import ATTENUATION, write_measurement
    from medscore.measurements.simulation import simulate as scan
    from medscore.reconstruction.grid import default_prior_note

    options.check_new(output)
    chosen: dict[str, Any] = {
        "views": views, "arc": arc, "source_distance": source_distance,
        "acceleration": acceleration, "mask": mask,
        "coils": coils, "factor": factor, "blur": blur, "hidden": hidden,
        "trajectory": trajectory, "phase": phase, "maps": maps, "finer": finer,
        "spectrum": spectrum,
        "implants": tuple(_implant(text) for text in implants or []) or None,
    }  # fmt: skip
    volume = load_image(
        image, modality=_modality(modality, task), slices=slices, series=series,
        resample=resample, channel=channel, accept=tuple(accept or ()), array=array,
        spacing=options.spacing_of(spacing),
    )  # fmt: skip
    given = {name: value for name, value in chosen.items() if value is not None}
    try:
        measurement = scan(volume, task, noise=noise, seed=seed, size=size, **given)
    except MedscoreError as error:
        raise MedscoreError(error.what, where=error.where or image, hint=error.hint) from error
    write_measurement(output, measurement)
    tell(output, measurement)
    if measurement.noise == "none" and measurement.image_unit == ATTENUATION:
        console.print(f"note: {INVERSE_CRIME}")
    shown = volume if size is None else reduce(volume, size)
    note = default_prior_note(shown, measurement.modality)
    if note is not None:
        console.print(f"note: {escape(note)}")


def _modality(modality: str | None, task: str) -> str | None:
    """The modality that the task needs, or that is given for tasks of both."""
    from medscore.measurements.tasks import NEEDS

    needed = NEEDS.get(task)
    if modality not in (None, "CT", "MR"):
        raise MedscoreError(f"`modality` is {modality!r:.40}", hint="use CT or MR")
    if None not in (modality, needed) and modality != needed:
        raise MedscoreError(
            f"`modality` is {modality}, but {task} is measured of {needed}", hint="leave it out"
        )
    return needed or modality


def tell(output: Path, m: Measurement) -> None:
    """Print the notes of the reader and a summary of the written file.

    Args:
        output: file that was written.
        m: its measurement.
    """
    for note in m.source.notes:
        console.print(f"note: {escape(note)}")
    console.print(f"{escape(str(output))}: {m.slices} slice(s), {m.operator}")


def _implant(text: str) -> tuple[float, float, float]:
    try:
        x, y, radius = (float(part) for part in text.split(","))
    except ValueError:
        x = y = radius = math.nan
    if not (math.isfinite(x) and math.isfinite(y) and 0 < radius < math.inf):
        raise MedscoreError(f"`implants` is {text!r}", hint="use X,Y,RADIUS in mm, such as -20,0,5")
    return x, y, radius
