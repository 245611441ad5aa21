"""Writing volumes by the ending of the name: NIfTI, NRRD, MetaImage and NumPy.

NRRD and MetaImage are written by SimpleITK, whose coordinates are LPS. Equal content gives equal
bytes in all formats.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.formats.orientation import from_display
from medscore.datasets.nifti import write_nifti
from medscore.errors import MedscoreError
from medscore.io.files import atomic_path, atomic_write

NIFTI = (".nii.gz", ".nii")
ITK = (".nrrd", ".mha")
NUMPY = (".npy", ".npz")

OUTPUTS = (*NIFTI, *ITK, *NUMPY)
"""Endings of the files that are written."""

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""Time stamp of the members of archives."""


def check_output_name(name: str) -> None:
    """Reject a file name whose ending is of no format that is written.

    Args:
        name: the name, or the path.

    Raises:
        MedscoreError: it is not.
    """
    if not name.lower().endswith(OUTPUTS):
        raise MedscoreError(
            f"`image` is {name!r:.80}", hint=f"use a name that ends with {', '.join(OUTPUTS)}"
        )


def write_image(
    path: str | Path,
    values: NDArray[np.float32],
    affine: NDArray[np.float64],
    modality: str = "unknown",
    axes: str = "",
) -> None:
    """Write slices in the format of the file's ending, atomically.

    ``.npy`` holds the values alone. ``.npz`` holds ``hu`` (CT) or ``image``, ``affine``,
    ``spacing`` (between columns, rows and slices, in mm) and ``modality``.

    Args:
        path: file to write: ``.nii.gz``, ``.nii``, ``.nrrd``, ``.mha``, ``.npy`` or ``.npz``.
        values: (n, rows, columns).
        affine: (4, 4) map from voxel (column, row, slice) to RAS mm.
        modality: "CT", "MR" or "unknown".
        axes: directions of the axes in the file, such as "RAS", in the formats that state them; by
            default those of display.

    Raises:
        MedscoreError: the ending is another one, or the folder cannot be written.
    """
    path = Path(path)
    check_output_name(path.name)
    low = path.name.lower()
    values = np.ascontiguousarray(values, dtype=np.float32)
    if low.endswith(NIFTI):
        write_nifti(path, values, affine, axes)
    elif low.endswith(ITK):
        _write_itk(path, *from_display(values, affine, axes))
    else:
        content = _npy(values)
        atomic_write(path, content if low.endswith(".npy") else _npz(values, affine, modality))


def _write_itk(path: Path, values: NDArray[np.float32], affine: NDArray[np.float64]) -> None:
    """Write an array whose first axis changes slowest; SimpleITK has the axes in reverse."""
    import SimpleITK  # takes a fifth of a second to import

    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(values.T))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    with atomic_path(path) as partial:
        writer = SimpleITK.ImageFileWriter()
        writer.SetFileName(str(partial))
        writer.SetImageIO("NrrdImageIO" if path.name.lower().endswith(".nrrd") else "MetaImageIO")
        writer.UseCompressionOn()
        try:
            writer.Execute(image)
        except RuntimeError as error:  # a full disk, for one
            raise OSError(str(error).strip().splitlines()[-1]) from error


def _npy(values: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def _npz(values: NDArray[np.float32], affine: NDArray[np.float64], modality: str) -> bytes:
    """An archive without times."""
    arrays = {
        "hu" if modality == "CT" else "image": values,
        "affine": affine,
        "spacing": np.linalg.norm(affine[:3, :3], axis=0),
        "modality": np.array(modality),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", EARLIEST)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, _npy(array))
    return buffer.getvalue()
