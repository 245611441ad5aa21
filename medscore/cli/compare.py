"""``medscore compare``: where two reconstructions of one measurement differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from medscore.cli.progress import console


def compare(
    first: Annotated[Path, typer.Argument(help="Output folder of `medscore recon`.")],
    second: Annotated[Path, typer.Argument(help="That of another prior, contrast or method.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")],
) -> None:
    """Compare two reconstructions of one measurement, by two priors, contrasts or methods.

    What their intervals disagree on is decided by the prior, and at least one of them is wrong
    about it. Writes difference.nii.gz (first minus second), apart.nii.gz (1 where the intervals do
    not overlap) and comparison.json.

    Example: medscore compare out/chest out/head -o out/difference
    """
    import numpy as np

    from medscore.datasets.nifti import write_nifti
    from medscore.io.files import atomic_folder
    from medscore.reconstruction.difference import difference_of_folders

    found, volume = difference_of_folders(first, second)
    axes = volume.source.axes
    with atomic_folder(output) as folder:
        write_nifti(folder / "difference.nii.gz", found.values, volume.affine, axes)
        apart = found.apart.astype(np.float32)
        write_nifti(folder / "apart.nii.gz", apart, volume.affine, axes)
        text = json.dumps(found.record(), indent=2) + "\n"
        (folder / "comparison.json").write_text(text)
    console.print(f"{escape(str(output))}: {escape(found.words)}")
