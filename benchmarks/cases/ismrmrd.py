"""Raw k-space: acquisitions of ISMRMRD files, reversed and incomplete readouts, extreme units.

The object is known, so the value found is the relative error of the root-sum-of-squares image, or,
where a readout is incomplete, the residual of the model at the object with the true coil maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
import torch
from cases.base import Case, Found
from numpy.typing import NDArray

from medscore.datasets.raw.kspace_files import read_kspace
from medscore.errors import MedscoreError
from medscore.measurements import measure
from medscore.measurements.kspace_grid import to_grid
from medscore.operators.mri.fourier import fft2c
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.sensitivity import birdcage
from medscore.operators.wrappers.padded import Padded

SIDE, COILS = 32, 4
STANDARD = "ismrmrd.h, ISMRMRD_AcquisitionFlags"
Array = NDArray[Any]
Lines = list[Any]

SPACE = """<encoding>
<encodedSpace><matrixSize><x>{x}</x><y>{y}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>{fx}</x><y>{fy}</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>{rx}</x><y>{y}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>{frx}</x><y>{fy}</y><z>5</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{last}</maximum>
<center>{centre}</center></kspace_encoding_step_1></encodingLimits>
<trajectory>cartesian</trajectory></encoding>"""


def header(*spaces: str) -> bytes:
    """An XML header with some encoding spaces."""
    text = '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
    text += "<experimentalConditions><H1resonanceFrequency_Hz>1</H1resonanceFrequency_Hz>"
    return (text + "</experimentalConditions>" + "".join(spaces) + "</ismrmrdHeader>").encode()


def space(x: int, y: int, oversampling: int = 1) -> str:
    """An encoding space with pixels of 2 mm."""
    return SPACE.format(
        x=x, y=y, fx=2 * x, fy=2 * y, rx=x // oversampling, frx=2 * x // oversampling,
        last=y - 1, centre=y // 2,
    )  # fmt: skip


def scanned(rows: int = SIDE) -> tuple[Array, Array, torch.Tensor]:
    """k-space (coil, rows, SIDE) of a square with marks, its magnitude, and the coil maps."""
    image = np.zeros((rows, SIDE))
    top = rows // 2
    image[top - 8 : top + 8, 8:24] = 1
    image[top - 8 : top - 5, 8:11] = 3
    image[top, 16] = 2
    maps = birdcage(COILS, rows, SIDE).to(torch.complex128)
    return fft2c(maps * torch.from_numpy(image)).numpy(), image, maps


def line(data: Array, step: int, flags: Sequence[str] = (), **more: int) -> Any:
    """An acquisition; ``more`` holds fields of its header or its counters."""
    made = ismrmrd.Acquisition.from_array(np.ascontiguousarray(data, dtype=np.complex64))
    made.idx.kspace_encode_step_1, made.center_sample = step, data.shape[1] // 2
    for name, value in more.items():
        setattr(made if hasattr(made, name) else made.idx, name, value)
    for name in flags:
        made.set_flag(getattr(ismrmrd, f"ACQ_IS_{name}"))
    return made


def lines(kspace: Array, steps: Sequence[int] = range(SIDE), **more: Any) -> Lines:
    """An acquisition for each of some columns of k-space."""
    return [line(kspace[:, :, step], step, **more) for step in steps]


def written(folder: Path, acquisitions: Lines, *spaces: str) -> Path:
    """An ISMRMRD file."""
    with ismrmrd.Dataset(str(folder / "scan.h5")) as file:
        file.write_xml_header(header(*(spaces or (space(SIDE, SIDE),))))
        for acquisition in acquisitions:
            file.append_acquisition(acquisition)
    return folder / "scan.h5"


def error(path: Path, truth: Array, **options: Any) -> Found:
    """Relative error of the root sum of squares; right below 1e-5."""
    _, target = measure(path, target="rss", **options)
    assert target is not None
    found = float(np.linalg.norm(target[0] - truth) / np.linalg.norm(truth))
    return Found(f"{found:.1e}", right=found < 1e-5)


def refusal(path: Path, word: str, **options: Any) -> Found:
    """The refusal; right if it contains a word."""
    try:
        measure(path, **options)
    except MedscoreError as refused:
        what = refused.what.partition(": ")[2] or refused.what
        return Found(f"refused: {what}", right=word in str(refused))
    return Found("read", right=False)


def mixed(extra: Callable[[Array], Lines], *spaces: str, **options: Any) -> Callable[[Path], Found]:
    """The error of an image to which other acquisitions were added, before and after it."""

    def find(folder: Path) -> Found:
        kspace, image, _ = scanned()
        more = extra(3 * np.exp(1j) * kspace)
        both = [*more, *lines(kspace), *more]
        return error(written(folder, both, *spaces), image, **options)

    return find


def refused(make: Callable[[Array], Lines], word: str) -> Callable[[Path], Found]:
    """The refusal of a file of the given acquisitions."""
    return lambda folder: refusal(written(folder, make(scanned()[0])), word)


def filled(folder: Path) -> Found:
    """Every second line, and the centre again as calibration lines that are 1 % brighter."""
    kspace, *_ = scanned()
    again = lines(1.01 * kspace, range(12, 20), flags=["PARALLEL_CALIBRATION"])
    raw = read_kspace(written(folder, [*again, *lines(kspace, range(0, SIDE, 2))]))
    expected = np.zeros_like(kspace)
    expected[..., 12:20] = 1.01 * kspace[..., 12:20]
    expected[..., ::2] = kspace[..., ::2]
    found = float(np.linalg.norm(raw.kspace[0] - expected) / np.linalg.norm(expected))
    return Found(f"{found:.1e}", right=found < 1e-6)


def backwards(kspace: Array, start: int, late: int) -> Lines:
    """Every second line in reverse, all without the first ``start`` samples of k-space."""
    made = []
    for step in range(SIDE):
        data, centre = kspace[:, start:, step], kspace.shape[1] // 2 - start
        if step % 2:
            centre = data.shape[1] - 1 - centre + late
            made.append(line(data[:, ::-1], step, ["REVERSE"], center_sample=centre))
        else:
            made.append(line(data, step, center_sample=centre))
    return made


def reversed_lines(start: int, late: int) -> Callable[[Path], Found]:
    """The error of k-space of which half of the lines were measured in reverse."""

    def find(folder: Path) -> Found:
        kspace, *_ = scanned()
        raw = read_kspace(written(folder, backwards(kspace, start, late)))
        kspace[:, :start] = 0
        found = float(np.linalg.norm(raw.kspace[0] - kspace) / np.linalg.norm(kspace))
        return Found(f"{found:.1e}", right=found < 1e-6)

    return find


def fastmri(folder: Path, kspace: Array, oversampling: int = 2) -> Path:
    """A fastMRI file of one slice."""
    with h5py.File(folder / "f.h5", "w") as file:
        file["kspace"] = kspace[None].astype(np.complex64)
        file["ismrmrd_header"] = header(space(kspace.shape[1], SIDE, oversampling))
    return folder / "f.h5"


def sampled(kind: str) -> Array:
    """A mask of 2 SIDE readout samples."""
    y, x = np.mgrid[-SIDE:SIDE, -SIDE // 2 : SIDE // 2]
    masks = {
        "complete": y == y,
        "one zero sample": (y != 5) | (x != 7),
        "early echo": y >= -SIDE // 3,
        "late echo": y < SIDE // 3,
        "elliptical shutter": (y / SIDE) ** 2 + (2 * x / SIDE) ** 2 <= 1,
    }
    return masks[kind]


def oversampled(kind: str, size: int | None, file: str) -> Callable[[Path], Found]:
    """The residual of the model of a readout that is oversampled twice, at the true object."""

    def find(folder: Path) -> Found:
        kspace, image, maps = scanned(2 * SIDE)
        taken = sampled(kind)
        if file == "fastMRI":
            path = fastmri(folder, kspace * taken)
        else:
            acquisitions = []
            for step in range(SIDE):
                rows = taken[:, step].nonzero()[0]
                if len(rows):
                    data = (kspace * taken)[:, rows[0] : rows[-1] + 1, step]
                    acquisitions.append(line(data, step, center_sample=SIDE - int(rows[0])))
            path = written(folder, acquisitions, space(2 * SIDE, SIDE, 2))
        made, _ = measure(path, size=size)
        grid = to_grid(read_kspace(path), size, path)
        inner = torch.from_numpy(image[SIDE // 2 : -SIDE // 2]).to(torch.complex128)[None, None]
        height, width = made.size
        if grid.kspace.shape[-2] == 2 * SIDE:
            model = Padded(MulticoilFourier(maps, grid.sampled[0, 0]), height, width)
        else:
            cropped = maps[:, SIDE // 2 : -SIDE // 2]
            model = MulticoilFourier(cropped, grid.sampled[0, 0])  # type: ignore[assignment]
        residual = float(model.residual(inner, grid.kspace.to(torch.complex128)))
        square = made.size == (SIDE, SIDE) and np.allclose(made.spacing, 2)
        shape = f"{width} x {height} pixels of {made.spacing[0]:g} x {made.spacing[1]:g} mm"
        limit = 0.02 if kind == "one zero sample" else 1e-6  # there the object's sample is not zero
        return Found(f"{shape}, {residual:.1e}", right=square and residual < limit)

    return find


def cropped_before(folder: Path) -> Found:
    """k-space whose oversampling was removed, with the header of the scan."""
    kspace, image, _ = scanned()
    with h5py.File(folder / "f.h5", "w") as file:
        file["kspace"] = kspace[None].astype(np.complex64)
        file["ismrmrd_header"] = header(space(2 * SIDE, SIDE, 2))
    return error(folder / "f.h5", image)


def units(factor: float, file: str) -> Callable[[Path], Found]:
    """The error of an image whose k-space was multiplied by a factor."""

    def find(folder: Path) -> Found:
        kspace, image, _ = scanned()
        kspace = kspace * factor
        options: dict[str, Any] = {}
        if file == "fastMRI":
            path = fastmri(folder, kspace, oversampling=1)
        elif file == "ISMRMRD":
            path = written(folder, lines(kspace))
        else:
            path, options = folder / "k.npy", {"spacing": 2.0}
            np.save(path, kspace.astype(np.complex64 if file == "npy" else np.complex128))
        if not 1e-30 < factor < 1e30:
            return refusal(path, "single precision", **options)
        return error(path, image * factor, **options)

    return find


FLAGS = {
    "PARALLEL_CALIBRATION": "MagneticResonanceImaging/MRIReco.jl#237",
    "RTFEEDBACK_DATA": STANDARD,
    "HPFEEDBACK_DATA": STANDARD,
    "PHASE_STABILIZATION": "ismrmrd/siemens_to_ismrmrd#84",
    "PHASE_STABILIZATION_REFERENCE": "ismrmrd/ismrmrd-python#49",
    "SURFACECOILCORRECTIONSCAN_DATA": "MagneticResonanceImaging/MRIReco.jl#227",
    "NOISE_MEASUREMENT": "PTB-MR/mrpro#119",
    "NAVIGATION_DATA": "PTB-MR/mrpro#119",
    "PHASECORR_DATA": "PTB-MR/mrpro#119",
    "DUMMYSCAN_DATA": "PTB-MR/mrpro#119",
}
COUNTERS = ("contrast", "phase", "set", "repetition", "segment")
DOC = "ISMRMRD doc/mrd_raw_data.md"
KIND, TURNED, OVER, UNITS = (
    "ISMRMRD acquisitions", "Reversed readouts", "Oversampled readouts", "k-space in extreme units"
)  # fmt: skip
NEAR, MODEL = "relative error below 1e-5", "32 x 32 pixels of 2 x 2 mm, residual below "

CASES = [
    *[
        Case(KIND, f"lines of another contrast flagged {flag}", NEAR,
             mixed(lambda k, flag=flag: lines(k, range(12, 20), flags=[flag])), source)
        for flag, source in FLAGS.items()
    ],
    Case(KIND, "embedded calibration lines", NEAR,
         lambda folder: error(written(folder, lines(
             scanned()[0], flags=["PARALLEL_CALIBRATION_AND_IMAGING"])), scanned()[1]), STANDARD),
    Case(KIND, "separate calibration lines beside every second line",
         "fill the holes only: relative error of k-space below 1e-6", filled,
         "MagneticResonanceImaging/MRIReco.jl#237"),
    Case(KIND, "a 16 x 16 reference in encoding space 1", NEAR,
         mixed(lambda k: [line(k[:, 8:24, 8 + s], s, encoding_space_ref=1) for s in range(16)],
               space(SIDE, SIDE), space(16, 16)), f"{DOC}, encoding_space_ref"),
    *[
        Case(KIND, f"two values of the counter {name}", "refused",
             refused(lambda k, n=name: [*lines(k), *lines(-k, **{n: 1})], "select"),
             f"{DOC}, EncodingCounters")
        for name in COUNTERS
    ],
    *[
        Case(KIND, f"two values of the counter {name}, the first selected", NEAR,
             mixed(lambda k, n=name: lines(k, **{n: 1}), select={name: 0}),
             f"{DOC}, EncodingCounters")
        for name in COUNTERS
    ],
    *[
        Case(TURNED, f"every second line{part}, its centre counted {how}",
             "relative error of k-space below 1e-6", reversed_lines(start, late), source)
        for start, part in ((0, ""), (10, " of a partial echo"))
        for late, how, source in ((0, "by the standard", "gadgetron/gadgetron#1199"),
                                  (1, "one later, as Siemens does", "PTB-MR/mrpro#832"))
    ],
    Case(TURNED, "every second line, with phase correction scans", "refused",
         refused(lambda k: [*lines(k, [16], flags=["PHASECORR_DATA"]), *backwards(k, 0, 0)],
                 "phase correction"), "MRsources/MRzero-Core#70"),
    *[
        Case(OVER, f"{file}, {kind}" + (f", size {size}" if size else ""),
             MODEL + ("0.02" if kind == "one zero sample" else "1e-6"),
             oversampled(kind, size, file), "MagneticResonanceImaging/MRIReco.jl#239")
        for file in ("fastMRI", "ISMRMRD")
        for kind in ("complete", "one zero sample", "early echo", "late echo", "elliptical shutter")
        for size in (None, SIDE)
    ],
    Case(OVER, "fastMRI, oversampling removed before, header unchanged", NEAR, cropped_before,
         "PTB-MR/mrpro#754"),
    *[
        Case(UNITS, f"{file}, times {factor:g}",
             NEAR if 1e-30 < factor < 1e30 else "refused", units(factor, file),
             "IEEE 754: single precision spans 1e-38 to 3e38")
        for file in ("npy", "double npy", "fastMRI", "ISMRMRD")
        for factor in (1e-40, 1e-24, 1e20, 1e36)
    ],
]  # fmt: skip
"""Cases of raw k-space."""
