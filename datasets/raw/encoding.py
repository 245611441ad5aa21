"""The encoding spaces in an ISMRMRD XML header, which fastMRI files hold as well.

An encoding space states the matrix and the field of view that were encoded, and those that are to
be reconstructed. Samples of k-space are 1 / (encoded field of view) apart, so an image of all
samples has that field of view; the readout is oversampled where it is longer than that to be
reconstructed (Inati et al. 2017; ismrmrd.xsd).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from medscore.errors import MedscoreError

Three = tuple[float, float, float]

TOLERANCE = 0.01
"""Relative difference of two ratios below which they are taken as equal."""


@dataclass(frozen=True)
class Encoding:
    """One encoding space of a scan.

    Attributes:
        trajectory: "cartesian", "epi", "radial", "spiral", ...; empty where it is not stated.
        matrix: encoded samples along readout, phase encoding and partitions; 0 where not stated.
        recon_matrix: pixels of the image along the same axes; 0 where not stated.
        field: encoded field of view in mm along the same axes.
        recon_field: field of view of the image in mm.
        centre: encoding step of the centre of k-space.
        calibration: how the lines for parallel imaging were measured: "embedded", "separate", ...;
            empty where it is not stated.
        partition_centre: partition of the centre of k-space; the middle one by default.
    """

    trajectory: str
    matrix: tuple[int, int, int]
    recon_matrix: tuple[int, int, int]
    field: Three
    recon_field: Three
    centre: int
    calibration: str
    partition_centre: int | None = None


@dataclass(frozen=True)
class Geometry:
    """The image that all samples of k-space give.

    Attributes:
        spacing: distance between columns, rows and slices in mm.
        oversampling: field of view along the readout over the one to be reconstructed, at least 1.
        notes: what differs from the header.
    """

    spacing: Three
    oversampling: float
    notes: tuple[str, ...] = ()


def read_encodings(header: bytes | str, where: Path) -> list[Encoding]:
    """Read all encoding spaces of an ISMRMRD XML header.

    Args:
        header: XML text.
        where: file to name in the error.

    Raises:
        MedscoreError: it is not XML, holds no encoding, or has no positive fields of view.
    """
    try:
        found = ElementTree.fromstring(header).findall("{*}encoding")
        if not found:
            raise ValueError("no encoding")
        return [_encoding(element) for element in found]
    except (ElementTree.ParseError, ValueError, TypeError) as error:
        raise MedscoreError(
            f"the XML header holds no geometry ({error})", where=where, hint="export it again"
        ) from error


def receiver_bandwidth(header: bytes | str) -> float | None:
    """Relative bandwidth of the receiver's noise, where an ISMRMRD XML header states it.

    Args:
        header: XML text.
    """
    place = "{*}acquisitionSystemInformation/{*}relativeReceiverNoiseBandwidth"
    try:
        found = float(ElementTree.fromstring(header).findtext(place) or "nan")
    except (ElementTree.ParseError, ValueError):
        return None
    return found if 0 < found <= 2 else None


def geometry(encoding: Encoding, shape: tuple[int, int]) -> Geometry:
    """The image of k-space of some shape, by the header.

    Files whose image was cropped to the reconstructed field of view before they were written have
    the samples of the reconstructed matrix, whose distance is that of the shorter field of view.

    Args:
        encoding: the encoding space.
        shape: samples of k-space along readout and phase encoding.
    """
    readout, phase, thickness = encoding.field
    notes = []
    cropped = [_cropped(encoding, axis, n) for axis, n in enumerate(shape)]
    if cropped[0]:
        readout = encoding.recon_field[0]
        notes.append("the oversampling of the readout was removed before the file was written")
    if cropped[1]:
        phase = encoding.recon_field[1]
        notes.append("the oversampling of the phase was removed before the file was written")
    oversampling = max(1.0, readout / encoding.recon_field[0])
    return Geometry((phase / shape[1], readout / shape[0], thickness), oversampling, tuple(notes))


def _cropped(encoding: Encoding, axis: int, samples: int) -> bool:
    """True if an axis has the reconstructed samples, and fewer than were encoded."""
    encoded, kept = encoding.matrix[axis], encoding.recon_matrix[axis]
    if not 0 < kept == samples < encoded:
        return False
    ratio = encoding.field[axis] / encoding.recon_field[axis]
    return abs(ratio * kept / encoded - 1) < TOLERANCE


def _encoding(element: ElementTree.Element) -> Encoding:
    matrix = _matrix(element, "encodedSpace")
    limits = "{*}encodingLimits/{*}kspace_encoding_step_%d/{*}center"
    plane = element.findtext(limits % 2)
    return Encoding(
        trajectory=(element.findtext("{*}trajectory") or "").strip().lower(),
        matrix=matrix,
        recon_matrix=_matrix(element, "reconSpace"),
        field=_field_of_view(element, "encodedSpace"),
        recon_field=_field_of_view(element, "reconSpace"),
        centre=int(element.findtext(limits % 1) or matrix[1] // 2),
        calibration=(element.findtext("{*}parallelImaging/{*}calibrationMode") or "").strip(),
        partition_centre=None if matrix[2] <= 1 or not plane else int(plane),
    )


def _matrix(element: ElementTree.Element, space: str) -> tuple[int, int, int]:
    x, y, z = (
        int(element.findtext(f"{{*}}{space}/{{*}}matrixSize/{{*}}{axis}") or 0) for axis in "xyz"
    )
    return x, y, z


def _field_of_view(element: ElementTree.Element, space: str) -> Three:
    found = [element.findtext(f"{{*}}{space}/{{*}}fieldOfView_mm/{{*}}{axis}") for axis in "xyz"]
    if None in found:
        raise ValueError(f"{space} has no fieldOfView_mm")
    x, y, z = (float(text) for text in found if text is not None)
    if not all(0 < mm < 1e4 for mm in (x, y, z)):
        raise ValueError(f"{space} has a field of view of {x:g} x {y:g} x {z:g} mm")
    return x, y, z
