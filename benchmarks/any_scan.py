"""Any scan: every CT and MR file that ships with pydicom, nibabel and nilearn, and every file of a
data folder, goes through simulation and reconstruction, and comes back at its own matrix.

    python benchmarks/any_scan.py --check --page docs/benchmarks/any-scan.md
    python benchmarks/any_scan.py --data DATA --only colin

One slice of each image is measured (CT: 23 views; MR: 4 times undersampled k-space) and
reconstructed in a few steps with the default prior: the subject is the geometry, not the quality.
Raw data are measured and reconstructed alike. The time of fit and undo is that of one thread.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import nilearn
import numpy as np
import SimpleITK
import torch
from number import Number, exit_code, machine, show, table
from numpy.typing import NDArray
from readable import cases as dicom_cases

from medscore.datasets.dicom.files import list_series
from medscore.datasets.dicom.form import is_dicom
from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.fit import fit_grid
from medscore.datasets.formats.orientation import axes_of, to_display
from medscore.datasets.load import is_image, load_image, read_volume
from medscore.datasets.volume import Volume, guess
from medscore.errors import MedscoreError
from medscore.measurements.fitting import fit_to, grid_text, resampling_psnr
from medscore.measurements.measurement import Measurement
from medscore.measurements.read import measure
from medscore.measurements.simulation import simulate
from medscore.priors.catalogue import DEFAULT_PRIORS, prior_path
from medscore.priors.checkpoint import read_checkpoint
from medscore.reconstruction.run import reconstruct
from medscore.reconstruction.saving import save

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
"""Data folder by default; it is skipped where it does not exist."""

STEPS = 2
"""Steps of the sampler; two are enough to follow the geometry through it."""

RAW = (".npy", ".npz", ".h5", ".hdf5", ".dat", ".cfl", ".mat", ".tif", ".tiff", ".zip")
"""Names of files that may hold raw data, if they are no images."""

INTRO = """# Any scan

Every CT and MR file that ships with pydicom, nibabel and nilearn, and every file of the folder of
development data where it exists, is measured (one slice; CT: 23 views, MR: 4 times undersampled
k-space), reconstructed with the default prior of its modality, and written. The result must have
the matrix of the source, and its corners must lie where those of the source do. "Keeps" is the PSNR
of the image after [resampling to the prior's grid and back](../fit.md), an upper bound for the
reconstruction. Two sampling steps are taken: this page is about geometry, not quality. A few files
are no slices of CT or MR in a known unit, and are refused with the reason.

"""


@dataclass(frozen=True)
class Case:
    """A file or series.

    Attributes:
        name: what the table calls it.
        path: the file or folder.
        series: the series of a folder.
    """

    name: str
    path: Path
    series: str | None = None


@dataclass(frozen=True)
class Row:
    """What became of a case.

    Attributes:
        name: the case.
        readable: whether an image reader takes the file.
        text: columns of the table after the name.
        error_mm: distance between the corners of source and result; ``None`` if there is none.
        refused: whether there is no reconstruction.
    """

    name: str
    readable: bool
    text: str
    error_mm: float | None = None
    refused: bool = False


def cases(data: Path) -> Iterator[Case]:
    """All files and series: those of the packages, then those of the data folder.

    Args:
        data: folder of further files; it may be missing.
    """
    for name, path, series in dicom_cases():
        yield Case(f"pydicom: {name}", path, series)
    for package in (nibabel, nilearn):
        root = Path(str(package.__file__)).parent
        for path in sorted(p for p in root.rglob("*") if p.is_file() and is_image(p)):
            yield Case(f"{package.__name__}: {path.name}", path)
    if not data.is_dir():
        print(f"{data} does not exist: its files are left out", file=sys.stderr)
        return
    folders = sorted({p.parent for p in data.rglob("*") if p.is_file() and is_dicom(p)})
    for folder in folders:
        name = str(folder.relative_to(data))
        for series in list_series(folder):
            if series.modality not in ("CT", "MR"):
                continue
            if len(series.files) > 1 and series.uid:
                text = series.description or series.modality
                yield Case(f"{name}: {text}", folder, series.uid)
                continue
            for file in series.files:
                yield Case(str((folder / file).relative_to(data)), folder / file)
    for path in sorted(p for p in data.rglob("*") if p.is_file()):
        if path.parent not in folders and (is_image(path) or path.suffix in RAW):
            yield Case(str(path.relative_to(data)), path)


def tried(case: Case, work: Path) -> Row:
    """Take a case from its file to a reconstruction.

    Args:
        case: the case.
        work: an empty folder.
    """
    try:
        volume, said = _read(case)
    except MedscoreError as error:
        if case.path.suffix in RAW and case.path.is_file():
            return _raw(case, work)
        return Row(case.name, _readable(case), _refusal(case, error), refused=True)
    try:
        one = volume.select(*_busiest(volume))
        task = ("sparse-ct", {}) if guess(one) == "CT" else ("mri", {})
        m = simulate(one, task[0], **task[1])
        return _reconstructed(case, m, one, said, work)
    except MedscoreError as error:
        return Row(case.name, True, _refusal(case, error), refused=True)


def _read(case: Case) -> tuple[Volume, str]:
    """The image, and the options that it needs."""
    refused: MedscoreError | None = None
    for channel, resample in itertools.product((None, 0), (False, True)):
        options = {"series": case.series, "channel": channel, "resample": resample}
        try:
            kinds = read_volume(case.path, **options).source.kinds  # type: ignore[arg-type]
            volume = load_image(case.path, accept=kinds, **options)  # type: ignore[arg-type]
        except MedscoreError as error:
            refused = refused or error
            continue
        taken = {"resample": resample, "channel 0": channel == 0, **dict.fromkeys(kinds, True)}
        return volume, ", ".join(name for name, used in taken.items() if used)
    assert refused is not None
    raise refused


def _readable(case: Case) -> bool:
    try:
        read_volume(case.path, series=case.series)
    except MedscoreError:
        return False
    return True


def _busiest(volume: Volume) -> tuple[int, int]:
    """The slice with the largest standard deviation; a constant one is no image."""
    k = int(np.argmax([slice_.std() for slice_ in volume.values]))
    return k, k + 1


def _raw(case: Case, work: Path) -> Row:
    """Raw data, which are measured instead of simulated."""
    try:
        m, _ = measure(case.path, slices="0:1")
        return _reconstructed(case, m, None, "raw data", work)
    except MedscoreError as error:
        return Row(case.name, False, _refusal(case, error), refused=True)


def _reconstructed(case: Case, m: Measurement, image: Volume | None, said: str, work: Path) -> Row:
    save(reconstruct(m, steps=STEPS), work / "out")
    written = nibabel.load(work / "out" / "recon.nii.gz")
    affine, (rows, columns) = written.affine, m.size
    shape = columns, rows, len(m.data)
    if m.source.axes:  # the order of the axes is the file's, not that of display
        assert axes_of(affine) == m.source.axes, axes_of(affine)
        values, affine = to_display(np.asarray(written.dataobj, np.float32), affine)
        assert values.shape == shape[::-1], values.shape
    else:
        assert written.shape == shape, written.shape
    error = _distance(affine, m.affine, shape)
    if m.source.kind == "dicom":
        series = read_dicom(work / "out" / "dicom", resample=True)
        error = max(error, _distance(series.affine, m.affine, shape))
    (x, y), domain = m.spacing, read_checkpoint(prior_path(DEFAULT_PRIORS[m.modality])).contract
    fit = fit_to(domain, m.size, m.spacing)
    grid, keeps = "its own", ""
    if fit is not None:
        grid = grid_text(fit, x)
        keeps = "" if image is None else f"{resampling_psnr(image, fit):.1f}"
    pixel = f"{x:.4g}" if abs(x - y) < 1e-3 * x else f"{x:.4g} x {y:.4g}"
    text = f"{columns} x {rows} | {pixel} | {grid} | {keeps} | {error:.1e} | {said}"
    return Row(case.name, image is not None, text, error)


def _distance(
    one: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, ...]
) -> float:
    """The largest distance in mm between the corners of two grids."""
    corners = np.array(list(itertools.product(*((0, n - 1) for n in shape), (1,))))
    return float(np.linalg.norm((corners @ (one - other).T)[:, :3], axis=1).max())


def _refusal(case: Case, error: MedscoreError) -> str:
    return f" | | | | | refused: {error.what}".replace(str(case.path), "...")


def _seconds(work: Callable[[], object], repeats: int = 3) -> float:
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def times(slices: int = 300) -> tuple[float, float]:
    """CPU seconds of fit and undo of a 512 x 512 volume to 128 x 128, by medscore and SimpleITK.

    SimpleITK resamples linearly, its fastest interpolation but the nearest pixel; to compare like
    with like it would have to take area means, which are slower.

    Args:
        slices: number of slices.
    """
    torch.set_num_threads(1)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    values = np.random.default_rng(0).normal(size=(slices, 512, 512)).astype(np.float32)
    found = fit_grid((512, 512), (0.7, 0.7), 128)
    fine, coarse = (SimpleITK.GetImageFromArray(v) for v in (values, found.apply(values)))
    fine.SetSpacing((0.7, 0.7, 1.0))
    coarse.SetSpacing((2.8, 2.8, 1.0))
    coarse.SetOrigin((1.05, 1.05, 0.0))

    def theirs() -> None:
        for source, grid in ((fine, coarse), (coarse, fine)):
            resample = SimpleITK.ResampleImageFilter()
            resample.SetReferenceImage(grid)
            resample.Execute(source)

    return _seconds(lambda: found.undo(found.apply(values, -1000.0), -1000.0)), _seconds(theirs)


def numbers(rows: list[Row]) -> Iterator[Number]:
    """The numbers with targets.

    Args:
        rows: what became of the cases.
    """
    readable = [row for row in rows if row.readable]
    refused = [row for row in readable if row.refused]
    errors = [row.error_mm for row in rows if row.error_mm is not None]
    yield Number("files and series", len(rows))
    yield Number("of these readable images", len(readable))
    yield Number("refused of the readable images", 100 * len(refused) / len(readable), "%",
                 at_most=10)  # fmt: skip
    yield Number("geometry error of all reconstructions", max(errors), "mm", at_most=1e-3)
    own, peer = times()
    yield Number("time of fit and undo of 512 x 512 x 300, over SimpleITK's", own / peer,
                 at_most=1.2)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of further files")
    parser.add_argument("--only", default="", help="cases whose name contains this text")
    parser.add_argument("--check", action="store_true", help="exit code 1 if a target is missed")
    parser.add_argument("--page", type=Path, help="write the page")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for case in cases(args.data):
        if args.only not in case.name:
            continue
        with tempfile.TemporaryDirectory() as work:
            rows.append(tried(case, Path(work)))
        print(f"{rows[-1].name} | {rows[-1].text}", flush=True)
    found = show(numbers(rows))
    if args.page is not None:
        head = "| file or series | matrix | pixel (mm) | prior's grid | keeps (dB) | error (mm) | |"
        lines = [head, "| --- " * 7 + "|", *(f"| {row.name} | {row.text} |" for row in rows)]
        page = [*table(found), "", *lines, "", f"Measured on {machine()}.", ""]
        args.page.write_text(INTRO + "\n".join(page))
    return exit_code(found, check=args.check)


if __name__ == "__main__":
    sys.exit(main())
