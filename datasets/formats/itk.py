"""Reading NRRD (.nrrd, .nhdr) and MetaImage (.mha, .mhd) with SimpleITK.

ITK's coordinates are LPS: x to the patient's left, y to posterior. They become RAS, and the axes
are reordered for display, as for NIfTI.
"""

from __future__ import annotations

import bz2
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.formats.orientation import axes_of, to_display
from medscore.datasets.formats.text_headers import Header, read_header
from medscore.datasets.volume import Source, Volume, check_values
from medscore.datasets.voxel_grid import check_grid
from medscore.errors import MedscoreError, reading
from medscore.io.budget import check_memory
from medscore.io.opening import file_sha256, open_file
from medscore.io.probe import look

ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")
"""Endings of the names of these files."""

PLACES = ("offset", "position", "origin", "transformmatrix", "rotation", "spaceorigin")
"""Fields of numbers that must all be finite; ITK takes others in place of NaN."""

NO_SPACE = "the file states no space of its directions: left-posterior-superior (LPS) is assumed"

_MODALITIES = {"MET_MOD_CT": "CT", "MET_MOD_MR": "MR"}
_ANATOMICAL = re.compile(r"[a-z]+-[a-z]+-[a-z]+(-time)?|[RLAPSI]{3}T?", re.IGNORECASE)
_COMPLEX = "complex"
_PIECE = 2**22


def is_itk(path: Path) -> bool:
    """True if a file is NRRD or MetaImage by its name.

    Args:
        path: any file.
    """
    return path.name.lower().endswith(ENDINGS)


def read_itk(
    path: str | Path,
    *,
    channel: int | None = None,
    spacing: tuple[float, float, float] | None = None,
) -> Volume:
    """Read an NRRD or MetaImage volume as axial slices in radiological display.

    Args:
        path: ``.nrrd`` or ``.mha`` file, or ``.nhdr`` or ``.mhd`` header with the voxels beside it.
        channel: index of the volume in a 4-D file, from 0.
        spacing: distance between columns, rows and slices in mm, if the header states none.

    Raises:
        MedscoreError: the file is damaged, declares more than it holds, names voxels outside its
            folder, holds colours, vectors or complex numbers, or has no such channel.
    """
    path = Path(path)
    name = "NRRD" if path.name.lower().endswith(ENDINGS[:2]) else "MetaImage"
    with reading(name, path):
        header = read_header(path)
        header.check_held()
        check_memory(2 * header.declared, path, "voxels")
        with _readable(path, header) as file:
            look(file, kind="itk")
            image = _read(file)
        values, chosen = _values(path, header, image, channel)
        check_memory(4 * values.size, path, "voxels")
        affine, notes = _affine(path, header, image, spacing)
        with np.errstate(over="ignore"):  # becomes infinite, which is refused
            made = np.array(values, dtype=np.float32)  # not a view of memory that ITK frees
    check_values(made, path)
    axes = axes_of(affine)
    slices, affine = to_display(made.T, affine)
    if chosen is not None:
        notes.append(chosen)
    return Volume(
        values=slices,
        affine=affine,
        modality=_MODALITIES.get(header.fields.get("modality", ""), "unknown"),
        source=Source(name.lower(), _sha256(path, header), notes=tuple(notes), axes=axes),
    )


def itk_volume_count(path: Path) -> int:
    """Number of volumes of a file that a channel chooses from; 0 for a file that is not 4-D.

    Args:
        path: the file.

    Raises:
        MedscoreError: its header cannot be read.
    """
    with reading("NRRD or MetaImage", path):
        header = read_header(path)
    if len(header.shape) != 4:
        return 0
    kinds = header.fields.get("kinds", "").lower().split()
    place = next((i for i, kind in enumerate(kinds) if kind in ("list", "time")), 3)
    return header.shape[place] if place < 4 else 0


def _read(path: Path) -> Any:
    import SimpleITK  # takes a fifth of a second to import

    SimpleITK.ProcessObject.GlobalWarningDisplayOff()
    try:
        return SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ValueError(re.sub(r"^\[nrrd\] |^.*Reason: ", "", lines[-1])) from error


@contextmanager
def _readable(path: Path, header: Header) -> Iterator[Path]:
    """A file that ITK can read: this one, or for bzip2, which ITK does not know, a raw copy."""
    if header.encoding != "bzip2":
        yield path
        return
    with open_file(path) as file:
        lines = file.read(header.length).decode("latin-1").splitlines()
    skipped = {"encoding", "datafile", "byteskip", "lineskip"}
    if {"byteskip", "lineskip"} & set(header.fields):
        raise ValueError("skips a part of voxels that are compressed by bzip2")
    kept = [
        text for text in lines if "".join(text.partition(":")[0].lower().split()) not in skipped
    ]
    kept = [text for text in kept if text.strip()]
    with tempfile.TemporaryDirectory(prefix="medscore-") as folder:
        copy = Path(folder) / "raw.nrrd"
        with copy.open("wb") as out, open_file(header.voxels) as packed:
            out.write(("\n".join([*kept, "encoding: raw"]) + "\n\n").encode("latin-1"))
            packed.seek(header.length if header.voxels == path else 0)
            rest, stream = header.declared, bz2.BZ2File(packed)
            while rest and (piece := stream.read(min(rest, _PIECE))):
                out.write(piece)
                rest -= len(piece)
            if rest:
                raise ValueError(f"ends {rest:,} bytes before the last voxel")
        yield copy


def _values(
    path: Path, header: Header, image: Any, channel: int | None
) -> tuple[NDArray[Any], str | None]:
    """Voxels (slices, rows, columns) in the order of the file, and a note on the chosen volume."""
    import SimpleITK

    kind, parts = image.GetPixelIDTypeAsString(), image.GetNumberOfComponentsPerPixel()
    if kind.startswith(_COMPLEX):
        raise MedscoreError(
            "holds complex numbers", where=path, hint="export the magnitudes, or measure k-space"
        )
    kinds = header.fields.get("kinds", "").lower()
    if parts > 1 and not re.search(r"\b(list|time)\b", kinds):
        raise MedscoreError(
            f"holds {parts} values per voxel (a colour or vector image)", where=path,
            hint="export a greyscale image",
        )  # fmt: skip
    values = SimpleITK.GetArrayViewFromImage(image)
    if parts > 1:
        values = np.moveaxis(values, -1, 0)
    if values.ndim not in (2, 3, 4) or (values.ndim == 4 and channel is None and len(values) > 1):
        raise MedscoreError(
            f"has shape {values.shape[::-1]}, a 3-D volume is required", where=path,
            hint="choose one with `channel`" if values.ndim == 4 else "extract one volume",
        )  # fmt: skip
    if values.ndim < 4:
        if channel is not None:
            raise MedscoreError(
                f"`channel` is {channel}, which applies to 4-D files; this one has shape "
                f"{values.shape[::-1]}", where=path, hint="leave it out",
            )  # fmt: skip
        return values, None
    if not 0 <= (channel or 0) < len(values):
        raise MedscoreError(
            f"`channel` is {channel}, the file has {len(values)} volumes", where=path,
            hint=f"use 0 to {len(values) - 1}",
        )  # fmt: skip
    return values[channel or 0], f"volume {channel or 0} of {len(values)}, from 0"


def _affine(
    path: Path, header: Header, image: Any, spacing: tuple[float, float, float] | None
) -> tuple[NDArray[np.float64], list[str]]:
    """Map from the axes of the file to RAS mm, and notes on it."""
    axes = min(3, image.GetDimension())
    directions = np.eye(3)
    directions[:axes, :axes] = np.reshape(image.GetDirection(), (image.GetDimension(),) * 2)[
        :axes, :axes
    ]
    steps, origin = np.ones(3), np.zeros(3)
    steps[:axes], origin[:axes] = image.GetSpacing()[:axes], image.GetOrigin()[:axes]
    stated = _states_spacing(header)
    if stated == (spacing is not None):
        raise MedscoreError(
            "`spacing` applies to files that do not state it" if stated
            else "states no spacing of the voxels", where=path,
            hint="leave it out" if stated else "set `spacing`, in mm",
        )  # fmt: skip
    notes = []
    if spacing is not None:
        steps = np.array(spacing)
    elif header.unit != 1:
        steps, origin = steps * header.unit, origin * header.unit
        notes.append(f"lengths were converted to mm, {header.unit:g} in one of the file's")
    if axes == 2 and spacing is None:
        notes.append("the file states no slice thickness: 1 mm is used")
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions * steps, origin
    placed = " ".join(header.fields.get(name, "") for name in PLACES).lower()
    if re.search("nan|inf", placed) or not np.isfinite(affine).all():
        raise ValueError("the place of the image is not finite")
    check_grid(affine, path)
    nrrd = header.fields.get("objecttype") is None and "dimsize" not in header.fields
    if nrrd and not _ANATOMICAL.fullmatch(header.fields.get("space", "")):
        notes.append(NO_SPACE)
    flip: NDArray[np.float64] = np.diag([-1.0, -1.0, 1.0, 1.0])
    return flip @ affine, notes


def _states_spacing(header: Header) -> bool:
    for name in ("spacings", "spacedirections", "elementspacing", "elementsize"):
        text = header.fields.get(name)
        if text is not None:
            numbers = [word for word in re.split(r"[\s(),]+", text.lower()) if word]
            return not any(word.startswith("nan") for word in numbers[:2])
    return False


def _sha256(path: Path, header: Header) -> str:
    """Hash of the file; of a header and its voxels, the hash of their hashes."""
    import hashlib

    own = file_sha256(path)
    if header.voxels == path:
        return own
    return hashlib.sha256((own + file_sha256(header.voxels)).encode()).hexdigest()
