"""Small Siemens raw data (twix) of version VD/VE, written by hand."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RAID, SCAN, CHANNEL = 10240, 192, 32
"""Bytes of the headers of a file, a line, and a channel of a line."""

COUNTERS = ("Lin", "Ave", "Sli", "Par", "Eco", "Phs", "Rep", "Set", "Seg")
BITS = {"ACQEND": 0, "RTFEEDBACK": 1, "PHASCOR": 21, "PATREFSCAN": 22, "PATREFANDIMASCAN": 23,
        "REFLECT": 24, "NOISEADJSCAN": 25, "SLICE_ACCEL_REFSCAN": 38}  # fmt: skip


@dataclass(frozen=True)
class TwixLine:
    """A line: (coil, samples), counters by name, names of flags, and where its centre is."""

    data: NDArray[Any]
    counters: dict[str, int]
    flags: tuple[str, ...] = ()
    centre: tuple[int, int, int] = (0, 0, 0)
    cut: tuple[int, int] = (0, 0)


def protocol(
    *, base: int, lines: int, fov: tuple[float, float, float], partitions: int = 1,
    dwell: int = 5000, trajectory: int = 1, more: str = "",
) -> dict[str, str]:  # fmt: skip
    """The two sections of the header that are read.

    Args:
        base: samples of the readout without oversampling, of which there are twice as many.
        lines: phase encodings.
        partitions: partitions; more than one makes the scan a volume.
        fov: field of view along readout and phase, and thickness of the slice or slab in mm.
        dwell: dwell time in ns.
        trajectory: ucTrajectory.
        more: further lines of the protocol.
    """
    text = f"""### ASCCONV BEGIN ###
sKSpace.lBaseResolution = {base}
sKSpace.ucTrajectory = {trajectory}
sKSpace.ucDimension = {4 if partitions > 1 else 2}
sKSpace.lImagesPerSlab = {partitions}
sSliceArray.asSlice[0].dThickness = {fov[2]}
sSliceArray.asSlice[0].dPhaseFOV = {fov[1]}
sSliceArray.asSlice[0].dReadoutFOV = {fov[0]}
sRXSPEC.alDwellTime[0] = {dwell}
{more}
### ASCCONV END ###
"""
    numbers = {"iPEFTLength": lines, "i3DFTLength": partitions, "iRoFTLength": 2 * base}
    meas = "".join(f'<ParamLong."{name}"> {{ {value} }}\n' for name, value in numbers.items())
    meas += '<ParamDouble."flReadoutOSFactor"> { <Precision> 16 2.0 }\n'
    return {"Meas": meas, "MeasYaps": text}


def twix_file(path: Path, scans: Sequence[tuple[dict[str, str], Sequence[TwixLine]]]) -> Path:
    """Write measurements, each a header and its lines.

    Args:
        path: file to write.
        scans: the measurements.
    """
    parts = [_measurement(header, lines) for header, lines in scans]
    raid = struct.pack("<II", 0, len(parts))
    place = RAID
    for part in parts:
        raid += struct.pack("<IIQQ64s64s", 1, 1, place, len(part), b"xxxx", b"scan")
        place += len(part)
    path.write_bytes(raid.ljust(RAID, b"\0") + b"".join(parts))
    return path


def _measurement(header: dict[str, str], lines: Sequence[TwixLine]) -> bytes:
    sections = b"".join(
        name.encode() + b"\0" + struct.pack("<I", len(text)) + text.encode()
        for name, text in header.items()
    )
    size = (8 + len(sections) + 31) // 32 * 32
    content = (struct.pack("<II", size, len(header)) + sections).ljust(size, b"\0")
    content += b"".join(_line(line, number + 1) for number, line in enumerate(lines))
    end = TwixLine(np.zeros((0, 0)), {}, ("ACQEND",))
    return content + _line(end, len(lines) + 1) + bytes(160)


def _line(line: TwixLine, number: int) -> bytes:
    coils, samples = line.data.shape
    length = SCAN + coils * (CHANNEL + 8 * samples) + (160 if "ACQEND" in line.flags else 0)
    mask = sum(1 << BITS[name] for name in line.flags)
    begin = struct.pack("<IiIIIHHiiiIQ", length, 1, number, 0, 0, 0, 0, 0, 0, 0, 0, mask)
    counters = [line.counters.get(name, 0) for name in COUNTERS] + [0] * 5
    middle = struct.pack(
        "<HH14H2HHHfI", samples, coils, *counters, *line.cut, line.centre[0], 0, 0, 0
    )
    end = struct.pack("<HH7f", line.centre[1], line.centre[2], *(0.0,) * 7)
    head = (begin + middle + end).ljust(SCAN, b"\0")
    channels = (bytes(CHANNEL) + row.astype("<c8").tobytes() for row in line.data)
    return head + b"".join(channels)
