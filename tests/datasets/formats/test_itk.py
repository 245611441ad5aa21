"""NRRD and MetaImage: values and places by hand, refusals of what ITK would open or allocate."""

import bz2
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from medscore.datasets.formats.itk import itk_volume_count, read_itk
from medscore.datasets.load import load_image, read_volume
from medscore.errors import MedscoreError

Refused = Callable[..., str]
STORED = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
"""Voxels (slices, rows, columns) of a file of 4 x 3 x 2."""

LPS = "space: left-posterior-superior\nspace directions: (2,0,0) (0,3,0) (0,0,5)\n"
PACKED = {
    "raw": STORED.tobytes(), "gzip": gzip.compress(STORED.tobytes()),
    "gz": gzip.compress(STORED.tobytes()), "bzip2": bz2.compress(STORED.tobytes()),
    "ascii": " ".join(map(str, STORED.ravel())).encode(), "hex": STORED.tobytes().hex().encode(),
}  # fmt: skip


def nrrd(path: Path, fields: str = LPS, encoding: str = "raw", **changes: str) -> Path:
    """An NRRD file of STORED; keywords replace the text of fields of the same name."""
    head = {"type": "short", "dimension": "3", "sizes": "4 3 2", "endian": "little"} | changes
    lines = "".join(f"{name.replace('_', ' ')}: {value}\n" for name, value in head.items())
    text = f"NRRD0004\n# made by hand\n{lines}{fields}encoding: {encoding}\n"
    content = b"" if "data_file" in changes else b"\n" + PACKED.get(encoding, b"")
    path.write_bytes(text.encode() + content)
    return path


def meta(path: Path, data: bytes = STORED.tobytes(), **changes: str | None) -> Path:
    """A MetaImage file of STORED; keywords set header fields, None removes them."""
    head: dict[str, str | None] = {
        "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "10 20 30", "ElementSpacing": "2 3 5",
        "DimSize": "4 3 2", "ElementType": "MET_SHORT",
    }  # fmt: skip
    head |= changes
    place = head.pop("ElementDataFile", "LOCAL")
    lines = "".join(f"{name} = {value}\n" for name, value in head.items() if value is not None)
    path.write_bytes((lines + f"ElementDataFile = {place}\n").encode() + data)
    return path


@pytest.mark.parametrize("encoding", PACKED)
def test_every_encoding_of_nrrd_gives_the_same_values(encoding: str, tmp_path: Path) -> None:
    volume = read_itk(nrrd(tmp_path / "a.nrrd", encoding=encoding))
    np.testing.assert_array_equal(volume.values, STORED)
    np.testing.assert_allclose(volume.affine, np.diag([-2, -3, 5, 1]))
    assert (volume.modality, volume.source.kind, volume.source.notes) == ("unknown", "nrrd", ())


@pytest.mark.parametrize(
    ("space", "flips"),
    [("left-posterior-superior", (1, 1)), ("LPS", (1, 1)), ("RAS", (-1, -1)),
     ("right-anterior-superior", (-1, -1)), ("left-anterior-superior", (1, -1))],
)  # fmt: skip
def test_a_marked_voxel_lies_where_its_space_says(
    space: str, flips: tuple[int, int], tmp_path: Path
) -> None:
    """Index (3, 1, 0) lies at (10 + 2 * 3, 20 + 3 * 1, 30) along the axes of the stated space."""
    fields = (
        f"space: {space}\nspace directions: (2,0,0) (0,3,0) (0,0,5)\nspace origin: (10,20,30)\n"
    )
    volume = read_itk(nrrd(tmp_path / "a.nrrd", fields))
    ((slice_, row, column),) = np.argwhere(volume.values == STORED[0, 1, 3])
    lps = np.array([16.0 * flips[0], 23.0 * flips[1], 30.0])
    np.testing.assert_allclose(
        volume.affine @ (column, row, slice_, 1), (*lps * (-1, -1, 1), 1), atol=1e-9
    )
    np.testing.assert_allclose(volume.affine[:3, :3], np.diag([-2, -3, 5]), atol=1e-9)


def test_a_file_without_space_is_taken_as_lps_with_a_note(tmp_path: Path) -> None:
    volume = read_itk(nrrd(tmp_path / "a.nrrd", "spacings: 2 3 5\n"))
    np.testing.assert_allclose(volume.affine, np.diag([-2, -3, 5, 1]))
    assert "LPS" in volume.source.notes[0]


@pytest.mark.parametrize(("unit", "mm"), [("mm", 1.0), ("um", 1e-3), ("cm", 10.0), ("m", 1e3)])
def test_units_of_lengths_become_mm(unit: str, mm: float, tmp_path: Path) -> None:
    fields = f'{LPS}space units: "{unit}" "{unit}" "{unit}"\nspace origin: (1,1,1)\n'
    volume = read_itk(nrrd(tmp_path / "a.nrrd", fields))
    np.testing.assert_allclose(volume.spacing, np.multiply((2, 3, 5), mm))
    np.testing.assert_allclose(volume.affine[:3, 3], np.multiply((-1, -1, 1), mm))


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_a_spacing_that_is_not_stated_must_be_given(
    name: str, tmp_path: Path, refused: Refused
) -> None:
    bare = tmp_path / name
    stated = tmp_path / f"stated-{name}"
    if name == "a.nrrd":
        nrrd(bare, ""), nrrd(stated)
    else:
        meta(bare, ElementSpacing=None), meta(stated)
    assert "set `spacing`" in refused(read_volume, bare)
    assert read_volume(bare, spacing=(2.0, 3.0, 5.0)).spacing == (2.0, 3.0, 5.0)
    assert "`spacing` applies to files that do not" in refused(read_volume, stated, spacing=2.0)


def test_a_metaimage_by_hand(tmp_path: Path) -> None:
    volume = read_itk(meta(tmp_path / "a.mha", Modality="MET_MOD_CT"))
    np.testing.assert_array_equal(volume.values, STORED)
    np.testing.assert_allclose(volume.affine[:3, 3], (-10, -20, 30))
    assert volume.spacing == (2.0, 3.0, 5.0)
    assert (volume.modality, volume.source.kind) == ("CT", "metaimage")


@pytest.mark.parametrize("ending", ["nhdr", "mhd"])
def test_detached_voxels_are_read_from_the_same_folder(ending: str, tmp_path: Path) -> None:
    (tmp_path / "voxels.raw").write_bytes(STORED.tobytes())
    path = tmp_path / f"a.{ending}"
    if ending == "nhdr":
        nrrd(path, data_file="voxels.raw")
    else:
        meta(path, b"", ElementDataFile="voxels.raw")
    volume = read_itk(path)
    np.testing.assert_array_equal(volume.values, STORED)
    (tmp_path / "voxels.raw").write_bytes((STORED + 1).tobytes())
    assert read_itk(path).source.sha256 != volume.source.sha256


@pytest.mark.parametrize("ending", ["nhdr", "mhd"])
@pytest.mark.parametrize(
    ("name", "why"),
    [("../x.raw", "not beside the header"), ("/etc/passwd", "not beside the header"),
     ("a/../../x.raw", "not beside the header"), ("-", "not beside the header"),
     ("pipe", "a named pipe"), ("folder", "a folder"), ("missing.raw", "no such file"),
     ("loop", "loop of symbolic links"), ("LIST", "several files"), ("i%d.raw 1 9 1", "several"),
     ("C:\\x.raw", "not beside the header")],
)  # fmt: skip
def test_voxels_elsewhere_are_refused_without_opening_them(
    ending: str, name: str, why: str, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "x.raw").write_bytes(STORED.tobytes())
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    path = folder / f"a.{ending}"
    if ending == "nhdr":
        nrrd(path, data_file=name)
    else:
        meta(path, b"", ElementDataFile=name)
    with pytest.raises(MedscoreError, match=why):
        read_itk(path)


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"sizes": "4 3 2000"}, "more than it can hold"), ({"sizes": "4 3"}, "axes"),
     ({"sizes": "0 3 2"}, "the size is"), ({"sizes": "-4 3 2"}, "the size is"),
     ({"sizes": "99999 99999 99999"}, "size"), ({"type": "block"}, "type of the voxels"),
     ({"dimension": "x"}, "axes"), ({"space_directions": "(0,0,0) (0,1,0) (0,0,1)"}, "directions")],
)  # fmt: skip
def test_headers_that_contradict_themselves_or_the_file_are_refused(
    changes: dict[str, str], why: str, tmp_path: Path, refused: Refused
) -> None:
    own = "space: LPS\n" if "space_directions" in changes else LPS
    assert why in refused(read_itk, nrrd(tmp_path / "a.nrrd", own, **changes))


@pytest.mark.parametrize(
    "changes",
    [{"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, {"TransformMatrix": "0 0 0 0 0 0 0 0 0"},
     {"ElementSpacing": "1e300 1 1"}, {"ElementSpacing": "nan 1 1"}, {"Offset": "nan 0 0"},
     {"TransformMatrix": "1e-300 0 0 0 1 0 0 0 1"}, {"ElementSpacing": "0 1 1"}],
)  # fmt: skip
def test_axes_that_span_no_volume_are_refused(
    changes: dict[str, str | None], tmp_path: Path, refused: Refused
) -> None:
    refused(read_itk, meta(tmp_path / "a.mha", **changes))


def test_a_field_that_stands_twice_is_refused(tmp_path: Path, refused: Refused) -> None:
    """ITK and this reader might take another one of them."""
    assert "twice" in refused(read_itk, nrrd(tmp_path / "a.nrrd", LPS + "Sizes: 4 3 2\n"))


@pytest.mark.parametrize("encoding", ["gzip", "bzip2"])
def test_truncated_streams_are_refused(encoding: str, tmp_path: Path, refused: Refused) -> None:
    path = nrrd(tmp_path / "a.nrrd", encoding=encoding)
    path.write_bytes(path.read_bytes()[:-20])
    refused(read_itk, path)


def test_more_than_the_memory_budget_is_refused_before_reading(
    tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSCORE_MEMORY", "1M")
    packed = gzip.compress(bytes(2 * 10**6))
    path = nrrd(tmp_path / "a.nrrd", encoding="gzip", sizes="1000 1000 1")
    path.write_bytes(path.read_bytes().replace(PACKED["gzip"], packed))
    assert "more than the memory budget" in refused(read_itk, path)


@pytest.mark.parametrize("kind", ["rgb", "vector", "complex"])
def test_colours_vectors_and_complex_numbers_are_refused(
    kind: str, tmp_path: Path, refused: Refused
) -> None:
    values: NDArray[Any] = np.arange(54, dtype=np.uint8).reshape(2, 3, 3, 3)
    image = SimpleITK.GetImageFromArray(values, isVector=True)
    if kind == "complex":
        image = SimpleITK.GetImageFromArray(np.ones((2, 3, 3), np.complex64))
    path = tmp_path / ("a.nrrd" if kind != "vector" else "a.mha")
    SimpleITK.WriteImage(image, str(path))
    message = refused(read_itk, path)
    assert ("complex numbers" if kind == "complex" else "3 values per voxel") in message


@pytest.mark.parametrize("ending", ["mha", "nrrd"])
def test_a_channel_chooses_a_volume_of_a_4d_file(
    ending: str, tmp_path: Path, refused: Refused
) -> None:
    one = SimpleITK.GetImageFromArray(STORED)
    many = SimpleITK.JoinSeries([one, one + 100, one + 200])
    path = tmp_path / f"a.{ending}"
    SimpleITK.WriteImage(many, str(path))
    assert itk_volume_count(path) == 3
    assert "choose one with `channel`" in refused(read_itk, path)
    found = read_itk(path, channel=2)
    np.testing.assert_array_equal(found.values, STORED + 200)
    assert "volume 2 of 3, from 0" in found.source.notes
    assert "use 0 to 2" in refused(read_itk, path, channel=3)


def test_a_list_axis_of_nrrd_is_chosen_from_by_channel(tmp_path: Path) -> None:
    """As 3D Slicer stores sequences."""
    fields = (
        "space: left-posterior-superior\nkinds: list domain domain domain\n"
        "space directions: none (2,0,0) (0,3,0) (0,0,5)\n"
    )
    path = nrrd(tmp_path / "a.nrrd", fields, dimension="4", sizes="2 2 3 2")
    assert itk_volume_count(path) == 2
    found = read_itk(path, channel=1)
    np.testing.assert_array_equal(found.values, STORED.ravel()[1::2].reshape(2, 3, 2))
    assert found.spacing == (2.0, 3.0, 5.0)


def test_endings_are_read_in_capitals_too(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_volume(nrrd(tmp_path / "A.NRRD")).values, STORED)


def test_a_child_process_reads_the_file_first(tmp_path: Path, looked: list[Path]) -> None:
    path = nrrd(tmp_path / "a.nrrd")
    read_itk(path)
    assert looked == [path]


def test_ct_in_nrrd_is_an_image_for_reconstruction(tmp_path: Path) -> None:
    hu = np.full((1, 16, 16), -1000, np.int16)
    hu[:, 4:12, 4:12] = 40
    image = SimpleITK.GetImageFromArray(hu)
    image.SetSpacing((0.8, 0.8, 2.0))
    SimpleITK.WriteImage(image, str(tmp_path / "a.nrrd"))
    volume = load_image(tmp_path / "a.nrrd", size=8)
    assert volume.modality == "CT"
    assert volume.spacing == pytest.approx((1.6, 1.6, 2.0))
