"""Every NIfTI file that nibabel and nilearn ship is read as nibabel reads it, or rejected."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medscore.datasets.nifti import read_nifti

Refused = Callable[..., str]
REFUSED = {
    "resampled_anat_moved.nii": "NaN",
    "row_major.dconn.nii": "not a volume",
}


def _files() -> list[Path]:
    found = sorted(Path(nib.__file__).parent.rglob("*.nii*"))
    spec = find_spec("nilearn")
    if spec is not None and spec.origin is not None:
        found += sorted((Path(spec.origin).parent / "datasets").rglob("*.nii*"))
    return found


@pytest.mark.parametrize("path", _files(), ids=lambda path: path.name)
def test_a_file_is_read_as_nibabel_reads_it(path: Path, refused: Refused) -> None:
    """Every sampled voxel has its value at its position in world coordinates."""
    if path.name in REFUSED:
        assert REFUSED[path.name] in refused(read_nifti, path)
        return
    image = nib.load(path)
    four = len(image.shape) == 4
    if four:
        assert "`channel`" in refused(read_nifti, path)
    found = read_nifti(path, channel=image.shape[3] - 1 if four else None)
    values = np.asarray(image.dataobj)
    values = values[..., -1] if four else values
    assert found.values.size == values.size
    rng = np.random.default_rng(0)
    back = np.linalg.inv(image.affine) @ found.affine
    for _ in range(50):
        k, r, c = (int(rng.integers(n)) for n in found.values.shape)
        voxel = tuple(np.rint((back @ (c, r, k, 1))[:3]).astype(int))
        assert found.values[k, r, c] == pytest.approx(float(values[voxel]), rel=1e-5, abs=1e-5)
