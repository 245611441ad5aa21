"""Reading DICOM: one file, or one series of a folder, to a volume."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medscore.datasets.dicom.archive import unpacked
from medscore.datasets.dicom.dicomdir import is_dicomdir
from medscore.datasets.dicom.files import Listing, choose, described, listing, scan
from medscore.datasets.dicom.form import read_dataset
from medscore.datasets.dicom.frames import FRAGILE, Frame, decode, frames
from medscore.datasets.dicom.kinds import kinds_of
from medscore.datasets.dicom.stack import Stack, affine_of, stack
from medscore.datasets.dicom.straighten import straighten
from medscore.datasets.dicom.uids import is_valid, valid
from medscore.datasets.volume import AIR, POSITIONS, Source, Volume, check_values
from medscore.errors import MedscoreError, reading
from medscore.io.budget import check_memory
from medscore.io.opening import read_bytes
from medscore.io.probe import look

MOST = 2
"""Largest ratio of resampled to measured slices; beyond it most slices would be interpolated."""

LARGE = 2**14
"""Bytes above which an element of a file, its pixels, is read only when it is needed."""

_SERIES_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")


def read_dicom(path: str | Path, *, series: str | None = None, resample: bool = False) -> Volume:
    """Read a DICOM file, or one series of a folder, of a zip archive or of an index (DICOMDIR).

    Values are in the scanner's unit, HU for CT. Enhanced multi-frame objects are stacks in one
    file. Slices are sorted along their normal. Pixels with the padding value become air in CT, 0 in
    MR. Gantry tilt is kept as shear in the affine. What the reader noticed is in the notes.

    Args:
        path: file, folder, zip archive or DICOMDIR.
        series: UID, description, or a part of the description; required if there are several.
        resample: interpolate linearly onto an even, upright grid where the slices are uneven or
            tilted.

    Raises:
        MedscoreError: it is not DICOM, truncated, a colour image, or without pixel spacing; there
            are several series and none is chosen; or the slices differ in shape, orientation or
            spacing, coincide, or are uneven without ``resample``.
    """
    path = Path(path)
    with (
        unpacked(path) as place, reading("DICOM", path),
        warnings.catch_warnings(record=True) as caught,
    ):  # fmt: skip
        warnings.simplefilter("always")
        volume = _read(place, series, resample)
    warned = [text for w in caught if "VR UI" not in (text := " ".join(str(w.message).split()))]
    notes = tuple(dict.fromkeys([*volume.source.notes, *warned]))
    return replace(volume, source=replace(volume.source, notes=notes))


def _read(path: Path, series: str | None, resample: bool) -> Volume:
    datasets, folder = _datasets(path, series)
    digest, found = hashlib.sha256(), []
    first = next(iter(datasets.values()))
    fragile = [f for f, ds in datasets.items() if ds.file_meta.get("TransferSyntaxUID") in FRAGILE]
    with ThreadPoolExecutor(1) as hashing:  # while parsing, in the order of the files
        for file, dataset in datasets.items():
            hashing.submit(digest.update, read_bytes(file))
            with reading("DICOM", file):
                found += frames(file, dataset)
            _check_same(path, first, dataset)
    check_memory(4 * sum(map(_pixels, datasets.values())), path, "pixels")
    if fragile:
        look(*fragile, kind="dicom")
    ordered = stack(found, path)
    if folder is not None:
        _check_complete(path, ordered, datasets, folder)
    values, notes = _values(ordered, datasets)
    check_values(values, path)
    modality = str(first.get("Modality", "unknown"))
    values, affine, instances, faults = _on_a_grid(path, ordered, values, modality, resample)
    kinds: dict[str, str] = {}
    for dataset in datasets.values():
        kinds |= kinds_of(dataset)
    left_out = None if folder is None else folder.note()
    about = [] if left_out is None else [left_out]
    return Volume(
        values=values,
        affine=affine,
        modality=modality,
        source=Source(
            kind="dicom",
            sha256=digest.hexdigest(),
            uids={k: valid(first[k].value) for k in (*_SERIES_UIDS, "SOPClassUID") if first.get(k)},
            position=_position(first),
            instances=instances,
            notes=(*about, *kinds.values(), *_replaced(datasets), *notes, *faults),
            kinds=tuple(kinds),
        ),
    )


def _position(dataset: Dataset) -> str:
    """PatientPosition, if it is one of those of the standard."""
    stated = str(dataset.get("PatientPosition", "") or "").strip(" \0")
    return stated if stated in POSITIONS else ""


def _datasets(path: Path, series: str | None) -> tuple[dict[Path, Dataset], Listing | None]:
    """One file, or the chosen series of a folder and the folder's files; large elements stay on
    disk for now.
    """
    if not path.is_dir() and not is_dicomdir(path):
        return {path: read_dataset(path)}, None
    files = listing(path)
    members = scan(path, files, defer_size=LARGE)
    chosen = choose(described(members), series, path)
    return dict(members[chosen.uid]), files


def _values(ordered: Stack, datasets: dict[Path, Dataset]) -> tuple[NDArray[np.float32], list[str]]:
    """Decode one file at a time, in the order of the stack."""
    places: dict[Path, list[tuple[int, Frame]]] = {}
    for place, frame in enumerate(ordered.frames):
        places.setdefault(frame.path, []).append((place, frame))
    values: NDArray[np.float32] | None = None
    notes: list[str] = []
    for file, members in places.items():
        images, found = decode(file, datasets[file], [frame for _, frame in members])
        if values is None:
            values = np.empty((len(ordered.frames), *images.shape[1:]), dtype=np.float32)
        values[[place for place, _ in members]] = images
        notes += found
    assert values is not None
    return values, notes


def _on_a_grid(
    path: Path, ordered: Stack, values: NDArray[np.float32], modality: str, resample: bool
) -> tuple[NDArray[np.float32], NDArray[np.float64], tuple[str, ...], Sequence[str]]:
    """Values, affine, instances and notes: unchanged if an affine describes the stack, resampled
    if requested.
    """
    faults = ordered.faults()
    instances = tuple(frame.instance for frame in ordered.frames)
    if resample and faults:
        if ordered.along[-1] > MOST * ordered.step * len(ordered.frames):
            raise MedscoreError(
                f"{'; '.join(faults)}: most slices would be interpolated",
                where=path,
                hint="complete the series, or use the slices one by one",
            )
        outside = AIR if modality == "CT" else float(values.min())
        made = straighten(values, ordered, outside)
        first = ordered.frames[0]
        nearest = np.abs(made.along[:, None] - ordered.along).argmin(1)
        note = f"resampled to {len(made.values)} slices, {ordered.step:g} mm apart"
        across = first.normal * ordered.step
        names = tuple(instances[i] for i in nearest)
        return made.values, affine_of(first, across), names, [*faults, note]
    if not ordered.even:
        raise MedscoreError(
            "; ".join(faults) or "the slices are shifted unevenly",
            where=path,
            hint="complete the series, use the slices one by one, or set `resample`",
        )
    return values, ordered.affine, instances, faults


def _check_complete(
    path: Path, ordered: Stack, datasets: Mapping[Path, Dataset], folder: Listing
) -> None:
    """Refuse a series from whose middle files of the folder were left out.

    Uneven distances show it, or numbers that are missing between those of the slices, no more than
    there are files left out. Slices without numbers of their own may be even and still have lost
    one in every gap, if that many files were left out.
    """
    note = folder.note()
    if note is None or len(ordered.frames) != len(datasets):
        return
    numbers = [datasets[frame.path].get("InstanceNumber") for frame in ordered.frames]
    present = sorted({int(n) for n in numbers if n is not None})
    absent = sorted(set(range(present[0], present[-1])) - set(present)) if present else []
    faults = [fault for fault in ordered.faults() if fault.startswith("missing")]
    if 0 < len(absent) <= len(folder.left_out):
        faults.append(f"InstanceNumber {', '.join(map(str, absent[:5]))} is missing")
    gaps = len(ordered.frames) - 1
    if not faults and len(present) <= gaps and 0 < gaps <= len(folder.left_out):
        faults.append(
            "the slices have no InstanceNumber of their own and may have lost every other"
        )
    if faults:
        raise MedscoreError(
            f"{'; '.join(faults)}; {note}", where=path,
            hint="copy those files again, or remove them and use the slices one by one",
        )  # fmt: skip


def _replaced(datasets: Mapping[Path, Dataset]) -> Iterator[str]:
    """A note for each kind of identifier that has no valid form."""
    for keyword in (*_SERIES_UIDS, "SOPInstanceUID"):
        values = (str(ds.get(keyword, "") or "").strip(" \0") for ds in datasets.values())
        if any(value and not is_valid(value) for value in values):
            yield f"{keyword} has no valid form and was replaced"


def _pixels(dataset: Dataset) -> int:
    """Number of pixels that a file declares."""
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    return frames * int(dataset.get("Rows", 0) or 0) * int(dataset.get("Columns", 0) or 0)


def _check_same(path: Path, first: Dataset, other: Dataset) -> None:
    keywords = ["Rows", "Columns", "Modality"]
    if "MONOCHROME1" in {ds.get("PhotometricInterpretation") for ds in (first, other)}:
        keywords += ["BitsStored", "PixelRepresentation"]  # which inversion depends on
    for keyword in keywords:
        one, two = first.get(keyword), other.get(keyword)
        if one != two:
            raise MedscoreError(
                f"slices differ in {keyword}: {one}, {two}",
                where=path,
                hint="leave out the scout image, or put one series in a folder",
            )
