"""Which of the CT and MR files that pydicom ships medscore reads, and why it refuses the others.

    python benchmarks/readable.py                      # the table
    python benchmarks/readable.py --page docs/images.md

The page is benchmarks/images_intro.md and the table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import pydicom

from medscore.datasets.dicom import read_dicom
from medscore.datasets.dicom_files import is_dicom, list_series
from medscore.errors import MedscoreError

FOLDER = Path(pydicom.__file__).parent / "data" / "test_files"


def cases() -> Iterator[tuple[str, Path, str | None]]:
    """Name, path and series of everything with modality CT or MR: files one by one, and the
    series of the exports in dicomdirtests.
    """
    for path in sorted(p for p in FOLDER.iterdir() if p.is_file() and is_dicom(p)):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except Exception as error:  # broken on purpose; shown as such
            print(f"{path.name}: {error}", file=sys.stderr)
            continue
        if header.get("Modality") in ("CT", "MR"):
            yield path.name, path, None
    for folder in sorted(p for p in (FOLDER / "dicomdirtests").iterdir() if p.is_dir()):
        for series in list_series(folder):
            if series.modality in ("CT", "MR"):
                yield f"dicomdirtests/{folder.name}: {series}", folder, series.uid


def row(name: str, path: Path, series: str | None) -> str:
    """A line of the table."""
    encoding = "" if series else pydicom.dcmread(path).file_meta.TransferSyntaxUID.name
    try:
        volume = read_dicom(path, series=series)
    except MedscoreError as error:
        text = str(error).removeprefix(f"{path}: ").replace(str(FOLDER), "...")
        return f"| {name} | {encoding} | refused: {text} |"
    n, rows, columns = volume.values.shape
    notes = "".join(f"; {note}" for note in volume.source.notes)
    return f"| {name} | {encoding} | {n} x {rows} x {columns}{notes} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, help="write the page")
    args = parser.parse_args()
    lines = ["| file or series | encoding | read |", "| --- | --- | --- |"]
    lines += [row(*case) for case in cases()]
    table = "\n".join(lines)
    if args.page is None:
        print(table)
        return 0
    intro = Path(__file__).with_name("images_intro.md").read_text().rstrip()
    args.page.write_text(f"{intro}\n\npydicom {pydicom.__version__}:\n\n{table}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
