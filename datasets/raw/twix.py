"""Siemens raw data (twix, ``.dat``), Cartesian, through the package twixtools (extra ``twix``).

The lines of all measurements of a file are turned into those of ISMRMRD, so that the same rules
tell which of them make up the image (:mod:`~medscore.datasets.raw.acquisitions`) and where they go
(:mod:`~medscore.datasets.raw.placement`). Matrix and field of view are those of the protocol.
"""

from __future__ import annotations

import contextlib
import io
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.raw.acquisitions import select_lines
from medscore.datasets.raw.assembly import assembled
from medscore.datasets.raw.kspace import RawKspace
from medscore.datasets.raw.prewhitening import RECEIVER, NoiseScan
from medscore.datasets.raw.twix_protocol import dwell_time, encoding_of
from medscore.errors import MedscoreError, optional_module, reading
from medscore.io.opening import regular_file
from medscore.io.probe import look

FLAGS = {
    "NOISEADJSCAN": 19, "PATREFSCAN": 20, "PATREFANDIMASCAN": 21, "REFLECT": 22, "PHASCOR": 24,
    "HPFEEDBACK": 26, "RETRO_DUMMYSCAN": 27, "RTFEEDBACK": 28, "RAWDATACORRECTION": 29,
    "REFPHASESTABSCAN": 30, "PHASESTABSCAN": 31,
}  # fmt: skip
"""Numbers of ISMRMRD's flags by their names in twix (siemens_to_ismrmrd)."""

SEVERAL = ("SLICE_ACCEL_REFSCAN", "SLICE_ACCEL_PHASCOR")
"""Flags of scans that excite several slices at once."""

HINT = "export the raw data again from the scanner, as one complete .dat file"


@dataclass(frozen=True)
class _Counters:
    kspace_encode_step_1: int
    kspace_encode_step_2: int
    average: int
    slice: int
    contrast: int
    phase: int
    repetition: int
    set: int
    segment: int


@dataclass(frozen=True)
class _Line:
    """A line with the names of an ISMRMRD acquisition, and the encoding steps of the centre."""

    data: NDArray[np.complex64]
    idx: _Counters
    flags: int
    center_sample: int
    discard_pre: int
    discard_post: int
    number_of_samples: int
    centre: tuple[int, int]
    encoding_space_ref: int = 0


def is_twix(path: str | Path) -> bool:
    """True if a path names a twix file.

    Args:
        path: any path.
    """
    return Path(path).suffix.lower() == ".dat"


def read_twix(
    path: str | Path, *, select: Mapping[str, int] | None = None, first: bool = False
) -> RawKspace:
    """Read all slices of the last measurement of a file that has image lines.

    Args:
        path: twix file.
        select: values of counters, where the file holds several images; see
            :data:`medscore.datasets.raw.acquisitions.CHOICES`.
        first: take the first of several images and note it, instead of refusing the file.

    Raises:
        MedscoreError: twixtools is not installed, the file cannot be read, the scan is not
            Cartesian or requires phase correction, it holds several images of which none is
            selected, or the values are invalid.
    """
    path = regular_file(path)
    twixtools = optional_module(
        "twixtools", "the reader of Siemens raw data", install="medscore[twix]", where=path
    )
    scans = _scans(path, twixtools)
    with reading("Siemens raw data", path, HINT):
        lines = [_lines(scan, path) for scan in scans]
        noise = [line.data for some in lines for line in some if _is_noise(line)]
        images = [n for n, some in enumerate(lines) if any(not _is_noise(x) for x in some)]
        if not images:
            raise ValueError("no image lines")
        last = images[-1]
        made = encoding_of(scans[last]["hdr"], lines[last], path)
        measured = dwell_time(scans[last]["hdr"])
        owners = [n for n, some in enumerate(lines) if any(map(_is_noise, some))]
        dwell = dwell_time(scans[owners[-1]]["hdr"]) if owners else measured
    chosen = select_lines(lines[last], select, path, first=first)
    ratio = RECEIVER * (measured / dwell if measured and dwell else 1.0)
    return assembled(chosen, made, path, noise=NoiseScan(noise, ratio))


def _scans(path: Path, twixtools: Any) -> list[dict[str, Any]]:
    """The measurements of a file; a child process reads it first, within limits."""
    look(path, kind="twix")
    with reading("Siemens raw data", path, HINT), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                found: list[dict[str, Any]] = twixtools.read_twix(
                    str(path), verbose=False, parse_pmu=False, parse_geometry=False
                )
        except Exception as error:
            traceback.clear_frames(error.__traceback__)  # closes the file, which it leaves open
            raise
        if not found:
            raise ValueError("no measurement")
        return found


def _lines(scan: Mapping[str, Any], where: Path) -> list[_Line]:
    found = []
    for block in scan["mdb"]:
        names = block.get_active_flags()
        if "SYNCDATA" in names or "ACQEND" in names:
            continue
        if several := [name for name in SEVERAL if name in names]:
            raise MedscoreError(
                f"several slices are excited at once ({several[0]})",
                where=where,
                hint="use a scan without simultaneous multi-slice",
            )
        found.append(_line(block, names))
    return found


def _line(block: Any, names: Sequence[str]) -> _Line:
    header, counter = block.mdh, block.mdh.Counter
    try:
        data = np.ascontiguousarray(block.data, dtype=np.complex64)
    finally:
        block.fid.close()  # it stays open after an error
    return _Line(
        data=data,
        idx=_Counters(
            int(counter.Lin), int(counter.Par), int(counter.Ave), int(counter.Sli),
            int(counter.Eco), int(counter.Phs), int(counter.Rep), int(counter.Set),
            int(counter.Seg),
        ),
        flags=sum(1 << (FLAGS[name] - 1) for name in set(names) & set(FLAGS)),
        center_sample=int(header.CenterCol),
        discard_pre=int(header.CutOff.Pre),
        discard_post=int(header.CutOff.Post),
        number_of_samples=data.shape[1],
        centre=(int(header.CenterLin), int(header.CenterPar)),
    )  # fmt: skip


def _is_noise(line: _Line) -> bool:
    return bool(line.flags >> (FLAGS["NOISEADJSCAN"] - 1) & 1)
