"""Files that medscore reads or rejects, with reasons: all CT and MR files in pydicom, and all
NIfTI files in nibabel and nilearn (extra ``bench``).

    python benchmarks/readable.py                      # the table
    python benchmarks/readable.py --page docs/images.md

The page is the text of benchmarks/images_intro.md and the tables.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel
import nilearn
import pydicom

from medscore.datasets.dicom.files import list_series
from medscore.datasets.dicom.form import is_dicom
from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.nifti import read_nifti
from medscore.errors import MedscoreError

FOLDER = Path(pydicom.__file__).parent / "data" / "test_files"


def cases() -> Iterator[tuple[str, Path, str | None]]:
    """Name, path and series of everything of modality CT or MR: single files, and the series of
    the exports in dicomdirtests.
    """
    for path in sorted(p for p in FOLDER.iterdir() if p.is_file() and is_dicom(p)):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except Exception as error:  # damaged on purpose
            print(f"{path.name}: {error}", file=sys.stderr)
            continue
        if header.get("Modality") in ("CT", "MR"):
            yield path.name, path, None
    for folder in sorted(p for p in (FOLDER / "dicomdirtests").iterdir() if p.is_dir()):
        for series in list_series(folder):
            if series.modality in ("CT", "MR"):
                yield f"dicomdirtests/{folder.name}: {series}", folder, series.uid


def row(name: str, path: Path, series: str | None) -> str:
    """A row of the table of DICOM files."""
    encoding = "" if series else pydicom.dcmread(path).file_meta.TransferSyntaxUID.name
    try:
        volume = read_dicom(path, series=series)
    except MedscoreError as error:
        text = str(error).removeprefix(f"{path}: ").replace(str(FOLDER), "...")
        return f"| {name} | {encoding} | refused: {text} |"
    n, rows, columns = volume.values.shape
    notes = "".join(f"; {note}" for note in volume.source.notes)
    return f"| {name} | {encoding} | {n} x {rows} x {columns}{notes} |"


def nifti_rows() -> list[str]:
    """The rows of the table of NIfTI files."""
    lines = []
    for package in (nibabel, nilearn):
        for path in sorted(Path(str(package.__file__)).parent.rglob("*.nii*")):
            name = f"{package.__name__}: {path.name}"
            lines.append(f"| {name} | {_shape(path)} | {_nifti(path)} |")
    return lines


def _shape(path: Path) -> str:
    image = nibabel.load(path)
    return f"{' x '.join(map(str, image.shape))} {image.get_data_dtype()}"


def _nifti(path: Path) -> str:
    """The matrix that is read, or the reason for rejection; the first of several volumes."""
    said = ""
    for channel in (None, 0):
        try:
            volume = read_nifti(path, channel=channel)
        except MedscoreError as error:
            said = f"refused: {str(error).removeprefix(f'{path}: ')}"
            if "`channel`" not in said:
                break
            continue
        size = " x ".join(map(str, volume.values.shape))
        return f"{said}; with it {size}" if said else size
    return said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, help="write the page")
    args = parser.parse_args()
    lines = ["| file or series | encoding | read |", "| --- | --- | --- |"]
    lines += [row(*case) for case in cases()]
    table = "\n".join(lines)
    heads = ["| file | voxels | read |", "| --- | --- | --- |"]
    nifti = "\n".join([*heads, *nifti_rows()])
    if args.page is None:
        print(f"{table}\n\n{nifti}")
        return 0
    intro = Path(__file__).with_name("images_intro.md").read_text().rstrip()
    peers = f"nibabel {nibabel.__version__} and nilearn {nilearn.__version__}"
    args.page.write_text(
        f"{intro}\n\npydicom {pydicom.__version__}:\n\n{table}\n\n{peers}:\n\n{nifti}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
