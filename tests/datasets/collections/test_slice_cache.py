"""The cache of slices holds no names, and gives them back from the files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from medscore.datasets.collections.slice_cache import SliceCache, Slices

WORDS = (b"Doe^John", b"jane", b"roe", b"MRN-77")


def cached(cache: Path, patient: str, file: Path, made: Slices | None) -> Slices:
    """Slices from a cache that was opened anew; without ``made`` nothing may be read."""

    def read() -> Slices:
        assert made is not None
        return made

    kept = SliceCache(cache, "32")
    found = kept.get(patient, [file], read)
    kept.save()
    return found


@pytest.mark.parametrize("ending", ["nii.gz", "npz"])
def test_names_and_notes_come_back_though_none_is_stored(tmp_path: Path, ending: str) -> None:
    file = tmp_path / "Doe^John" / f"jane_roe.{ending}"
    file.parent.mkdir()
    if ending == "npz":
        np.savez(file, patient=np.array(["jane", "Doe^John", "jane"]))
        patients: tuple[str, ...] = ("jane", "Doe^John")
    else:
        file.write_bytes(b"content")
        patients = ("jane_roe", "jane_roe")
    notes = (
        f"10 slices of {file} and {file.name} in {file.parent.name} are tilted",
        "Invalid value for VR LO: 'MRN-77'.",
    )
    made = Slices(torch.zeros(2, 4, 4).half(), np.ones(2), patients, notes=notes)
    cached(tmp_path / "cache", "jane_roe", file, made)
    for path in (tmp_path / "cache").iterdir():
        content = path.name.encode() + path.read_bytes()
        assert not [word for word in WORDS if word in content], path
    found = cached(tmp_path / "cache", "jane_roe", file, None)
    assert found.patients == patients
    assert found.notes == (notes[0], "Invalid value for VR LO: '...'.")
    moved = tmp_path / "elsewhere" / f"other.{ending}"
    moved.parent.mkdir()
    shutil.copy(file, moved)
    found = cached(tmp_path / "cache", "other", moved, None)
    assert found.patients == (("other", "other") if ending == "nii.gz" else patients)
    assert found.notes[0] == f"10 slices of {moved} and {moved.name} in elsewhere are tilted"


@pytest.mark.parametrize("text", ["[]", "3", "{", '{"NAME": 3}', '{"NAME": {"state": 1}}'])
def test_a_damaged_index_is_made_again(tmp_path: Path, text: str) -> None:
    file, made = tmp_path / "a.nii.gz", Slices(torch.zeros(1, 2, 2), np.ones(1), ("p",))
    file.write_bytes(b"content")
    cached(tmp_path / "cache", "p", file, made)
    index = tmp_path / "cache" / "index.json"
    (name,) = json.loads(index.read_text())
    index.write_text(text.replace("NAME", name))
    assert torch.equal(cached(tmp_path / "cache", "p", file, None).images, made.images)
