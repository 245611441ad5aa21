"""Valid NRRD, MetaImage and MATLAB files and zip archives, and the changes that attack them."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import SimpleITK
from numpy.typing import NDArray
from scipy.io import savemat

from attacks.arrays import directory
from attacks.raw import BYTES

NRRD_FIELDS: Mapping[str, tuple[str, ...]] = {
    "type": ("float", "short", "uchar", "double", "block", "signed char", "complex", "", "int64"),
    "dimension": ("0", "1", "2", "3", "4", "16", "17", "-1", "3.5", "x"),
    "sizes": ("32 32 2", "2 32 32", "32 32", "0 32 2", "-1 32 2", "100000 100000 100000", "1 1 1",
              "2147483648 2 1", "99999999999999999999 1 1", "32 32 2 1", "a b c", ""),
    "space": ("left-posterior-superior", "RAS", "scanner-xyz", "3D-right-handed", "x", "LPST"),
    "space dimension": ("2", "3", "4", "0"),
    "space directions": ("(1,0,0) (0,1,0) (0,0,1)", "(0,0,0) (0,0,0) (0,0,0)", "none none none",
                         "(1,0,0) (1,0,0) (0,0,1)", "(nan,0,0) (0,1,0) (0,0,1)", "(1e308,0,0) "
                         "(0,1e308,0) (0,0,1e308)", "(1,0) (0,1)", "x", "(1,0,0) none (0,0,1)",
                         "(1e-300,0,0) (0,1,0) (0,0,1)"),
    "space origin": ("(0,0,0)", "(nan,inf,0)", "(1e300,1e300,1e300)", "(1,2)", "0 0 0"),
    "spacings": ("1 1 1", "nan nan nan", "0 0 0", "-1 1 1", "inf 1 1"),
    "space units": ('"mm" "mm" "mm"', '"um" "um" "um"', '"x" "mm" "m"', '"', "mm"),
    "kinds": ("domain domain domain", "RGB-color domain domain", "vector domain domain",
              "list domain domain", "domain domain list", "complex domain domain", "x y z", "???"),
    "centerings": ("cell cell cell", "node node none"),
    "endian": ("little", "big", "middle"),
    "encoding": ("raw", "gzip", "bzip2", "ascii", "hex", "zip", "", "gz", "txt"),
    "byte skip": ("0", "-1", "1", "1000000", "-2", "99999999999"),
    "line skip": ("0", "1", "-1", "1000000"),
    "data file": ("voxels.raw", "../in/voxels.raw", "/etc/passwd", "LIST", "a%d.raw 1 3 1", "pipe",
                  "-", ".", "", "/dev/zero", "missing.raw", "image.nhdr", "a\\b", "sub/x"),
    "content": ("x" * 5000, "a"), "number": ("8192",), "block size": ("4",), "min": ("0",),
    "measurement frame": ("(1,0,0) (0,1,0) (0,0,1)", "(0,0,0) (0,0,0) (0,0,0)", "x"),
    "axis mins": ("0 0 0", "nan nan nan"), "units": ('"mm" "mm" "mm"',), "labels": ('"a" "b"',),
    "old min": ("nan",), "thicknesses": ("1 1 1", "nan nan nan"),
}  # fmt: skip
"""Fields of NRRD with valid and other values."""

META_FIELDS: Mapping[str, tuple[str, ...]] = {
    "ObjectType": ("Image", "Scene", "Tube", ""), "NDims": ("0", "1", "2", "3", "4", "11", "-1"),
    "BinaryData": ("True", "False"), "BinaryDataByteOrderMSB": ("True", "False", "x"),
    "CompressedData": ("True", "False"), "CompressedDataSize": ("0", "1", "-5", "99999999999"),
    "TransformMatrix": ("1 0 0 0 1 0 0 0 1", "0 0 0 0 0 0 0 0 0", "nan 0 0 0 1 0 0 0 1", "1 0",
                        "1 0 0 1 0 0 0 0 1", "1e300 0 0 0 1 0 0 0 1"),
    "Offset": ("0 0 0", "nan 0 0", "1e300 0 0", "1"), "CenterOfRotation": ("0 0 0",),
    "ElementSpacing": ("1 1 1", "0 0 0", "-1 1 1", "nan 1 1", "1e300 1 1", "1 1"),
    "ElementSize": ("1 1 1",), "DistanceUnits": ("mm", "um", "x"),
    "DimSize": NRRD_FIELDS["sizes"], "HeaderSize": ("-1", "0", "100", "99999999"),
    "Modality": ("MET_MOD_CT", "MET_MOD_MR", "MET_MOD_OTHER", "x"),
    "ElementNumberOfChannels": ("1", "3", "0", "-1", "1000000000"),
    "ElementType": ("MET_SHORT", "MET_FLOAT", "MET_UCHAR", "MET_DOUBLE", "MET_STRING", "MET_NONE",
                    "MET_FLOAT_ARRAY", "MET_LONG", "MET_ULONG_LONG", "x"),
    "ElementDataFile": ("LOCAL", *NRRD_FIELDS["data file"]), "Comment": ("x" * 5000,),
}  # fmt: skip
"""Fields of MetaImage with valid and other values."""

MAT_TYPES = (0, 1, 2, 5, 6, 7, 9, 12, 14, 15, 16, 18, 255)
"""Data types of MATLAB files, valid and not."""


def volume_files(folder: Path, hu: NDArray[np.float32]) -> dict[str, Path]:
    """Write NRRD, MetaImage, NumPy and MATLAB images.

    Args:
        folder: folder to write in.
        hu: (slices, rows, columns).

    Returns:
        The files, and folders with the parts of a file, by name.
    """
    image = SimpleITK.GetImageFromArray(hu)
    image.SetSpacing((3.0, 3.0, 5.0))
    for name in ("plain.nrrd", "packed.nrrd", "plain.mha", "packed.mha"):
        SimpleITK.WriteImage(image, str(folder / name), name.startswith("packed"))
    many = SimpleITK.JoinSeries([image, image])
    SimpleITK.WriteImage(many, str(folder / "many.mha"), True)
    for name, header in (("nhdr", "image.nhdr"), ("mhd", "image.mhd")):
        (folder / name).mkdir()
        SimpleITK.WriteImage(image, str(folder / name / header), False)
        (voxels,) = [path for path in (folder / name).iterdir() if path.name != header]
        voxels.rename(folder / name / "voxels.raw")
        text = (folder / name / header).read_text().replace(voxels.name, "voxels.raw")
        (folder / name / header).write_text(text)
    arrays: dict[str, Any] = {"hu": hu, "spacing": [3.0, 3.0, 5.0], "patient": "a"}
    for name, packed in (("five.mat", True), ("plain.mat", False)):
        savemat(
            folder / name, arrays | {"about": {"kind": "x", "list": [1, 2]}}, do_compression=packed
        )
    with h5py.File(folder / "seven.mat", "w", userblock_size=512) as file:
        file["hu"], file["spacing"] = hu.T, np.array([[3.0], [3.0], [5.0]])
        for name in ("hu", "spacing"):
            file[name].attrs["MATLAB_class"] = np.bytes_(b"double")
    content = bytearray((folder / "seven.mat").read_bytes())
    content[:19], content[124:128] = b"MATLAB 7.3 MAT-file", b"\0\x02IM"
    (folder / "seven.mat").write_bytes(content)
    np.save(folder / "image.npy", hu)
    np.savez_compressed(folder / "image.npz", hu=hu, spacing=[3.0, 3.0, 5.0])
    names = ("plain.nrrd", "packed.nrrd", "plain.mha", "packed.mha", "many.mha", "nhdr", "mhd",
             "five.mat", "plain.mat", "seven.mat", "image.npy", "image.npz")  # fmt: skip
    return {name: folder / name for name in names}


def zip_files(folder: Path, series: Path) -> dict[str, Path]:
    """Write a zip archive of a DICOM series.

    Args:
        folder: folder to write in.
        series: folder of the series.
    """
    with zipfile.ZipFile(folder / "series.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(series.rglob("*")):
            if path.is_file():
                archive.write(path, f"export/{path.relative_to(series)}")
    return {"series.zip": folder / "series.zip"}


def _header(path: Path) -> tuple[list[str], bytes, str]:
    """Lines of the header, the voxels behind it, and the separator of a field's name."""
    content = path.read_bytes()
    if content.startswith(b"NRRD"):
        head, _, rest = content.partition(b"\n\n")
        return head.decode("latin-1").split("\n"), rest, ": "
    place = content.find(b"ElementDataFile")
    end = content.find(b"\n", place) + 1 or len(content)
    return content[:end].decode("latin-1").rstrip("\n").split("\n"), content[end:], " = "


def _put(path: Path, lines: list[str], rest: bytes) -> None:
    nrrd = lines[0].startswith("NRRD")
    path.write_bytes(("\n".join(lines) + ("\n\n" if nrrd else "\n")).encode("latin-1") + rest)


def fields(path: Path, rng: np.random.Generator) -> None:
    """Set, add, double or drop one to three fields."""
    lines, rest, mark = _header(path)
    known = NRRD_FIELDS if mark == ": " else META_FIELDS
    for _ in range(int(rng.integers(1, 4))):
        name = list(known)[int(rng.integers(len(known)))]
        value = known[name][int(rng.integers(len(known[name])))]
        places = [i for i, line in enumerate(lines) if line.startswith(name + mark)]
        kind = int(rng.integers(8))
        if places and kind == 0:
            del lines[places[0]]
        elif places and kind > 1:
            lines[places[0]] = name + mark + value
        else:
            lines.insert(int(rng.integers(1, len(lines))), name + mark + value)
    _put(path, lines, rest)


def spelling(path: Path, rng: np.random.Generator) -> None:
    """Write the header in another way: other line ends, blanks, cases, comments, keys."""
    lines, rest, mark = _header(path)
    kind = int(rng.integers(7))
    if kind == 0:
        lines = [line + "\r" for line in lines]
    elif kind == 1:
        lines = [line.replace(mark, mark.strip()) for line in lines]
    elif kind == 2:
        lines = [line.upper() for line in lines]
    elif kind == 3:
        lines.insert(1, "# " + "x" * int(rng.integers(1, 2**16)))
    elif kind == 4:
        lines.insert(1, "key:=" + "\\n" * 100)
    elif kind == 5:
        lines = [line.replace(" ", "  ") for line in lines]
    else:
        lines = [line + "\0\xff" for line in lines]
    _put(path, lines, rest)


def voxels(path: Path, rng: np.random.Generator) -> None:
    """Cut, lengthen, compress or spoil what lies behind the header."""
    lines, rest, _ = _header(path)
    kinds = (
        rest[: len(rest) // 2], rest + rest, b"", gzip.compress(rest), bz2.compress(rest),
        bytes(len(rest)), b"\xff" * len(rest), b"\0\0\xc0\x7f" * (len(rest) // 4),
        gzip.compress(bytes(2**24), 1), rng.bytes(len(rest)),
    )  # fmt: skip
    _put(path, lines, kinds[int(rng.integers(len(kinds)))])


def declared(path: Path, rng: np.random.Generator) -> None:
    """Declare gigabytes, with megabytes of compressed zeros behind the header."""
    lines, _, mark = _header(path)
    side = int(rng.choice([256, 2048, 2**15]))
    sizes, packing = ("sizes", "encoding") if mark == ": " else ("DimSize", "CompressedData")
    packed = gzip.compress(bytes(2**24), 1)
    word = ("gzip", "bzip2", "raw")[int(rng.integers(3))] if mark == ": " else "True"
    packed = bz2.compress(bytes(2**24)) if word == "bzip2" else packed
    lines = [line for line in lines if not line.startswith((sizes + mark, packing + mark))]
    lines.insert(2, f"{sizes}{mark}{side} {side} {side}")
    lines.insert(2, f"{packing}{mark}{word}")
    _put(path, lines, packed)


def named_pipe(path: Path, rng: np.random.Generator) -> None:
    """Put a pipe, a folder, a link or nothing in the place of the voxels."""
    place = path.parent / "voxels.raw"
    place.unlink(missing_ok=True)
    kind = int(rng.integers(4))
    if kind == 0:
        os.mkfifo(place)
    elif kind == 1:
        place.mkdir()
    elif kind == 2:
        place.symlink_to("voxels.raw")


def elements(path: Path, rng: np.random.Generator) -> None:
    """Change the tags of MATLAB elements: types, lengths, dimensions, classes."""
    content = bytearray(path.read_bytes())
    if len(content) < 200:
        return
    for _ in range(int(rng.integers(1, 4))):
        place = 128 + 8 * int(rng.integers(0, min(40, (len(content) - 136) // 8)))
        if rng.random() < 0.5:
            content[place : place + 4] = struct.pack("<I", int(rng.choice(MAT_TYPES)))
        else:
            sizes = (0, 1, 7, 8, 2**16, 2**31 - 1, 2**32 - 1, 32)
            content[place + 4 : place + 8] = struct.pack("<I", sizes[int(rng.integers(8))])
    path.write_bytes(content)


def other_arrays(path: Path, rng: np.random.Generator) -> None:
    """Write other arrays under the names of the image and of its spacing."""
    hu = rng.normal(size=(2, 32, 32)) * 300
    values: tuple[Any, ...] = (
        hu, hu[0], hu[None], hu.astype(complex), "text", {"a": hu}, np.zeros((0, 3, 3)),
        hu * np.nan,
        hu[:, :1], np.zeros((2, 32, 32), bool), np.array([["a", 1]], dtype=object), hu.T,
        np.zeros((3, 32, 32), np.uint8), 1.0,
    )  # fmt: skip
    spacings: tuple[Any, ...] = (
        3.0, [3, 3, 5], -1.0, 0.0, np.nan, [1, 2], [[1, 2], [3, 4]], "x", [], np.inf, [3] * 7,
        1e300,
    )  # fmt: skip
    name = ("spacing", "pixel_spacing_mm", "affine", "slice_thickness_mm")[int(rng.integers(4))]
    savemat(path, {
        ("hu", "image", "x")[int(rng.integers(3))]: values[int(rng.integers(len(values)))],
        name: spacings[int(rng.integers(len(spacings)))],
    })  # fmt: skip


def mat_bomb(path: Path, rng: np.random.Generator) -> None:
    """An array of zeros that inflates a thousandfold."""
    side = int(rng.choice([256, 1024]))
    buffer = io.BytesIO()
    savemat(buffer, {"hu": np.zeros((16, side, side), np.uint8)}, do_compression=True)
    content = bytearray(buffer.getvalue())
    path.write_bytes(content)


def zip_names(path: Path, rng: np.random.Generator) -> None:
    """Rename members, or add links, folders, archives and encrypted members."""
    with zipfile.ZipFile(path) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    others = (
        "../../out/escaped.dcm", "/tmp/medscore-escaped.dcm", "a/../../b.dcm", "C:\\x.dcm",
        "x\0y.dcm", "a" * 300 + ".dcm", "a/" * 200 + "b.dcm", members[0][0], "..", ".", "CON",
        "ä.dcm", " ",
    )  # fmt: skip
    k = int(rng.integers(len(members)))
    name, kind = others[int(rng.integers(len(others)))], int(rng.integers(6))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i, (own, content) in enumerate(members):
            info = zipfile.ZipInfo(name if i == k and kind < 3 else own)
            info.compress_type = (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)[kind == 3]
            if i == k and kind == 4:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                content = b"/etc/passwd"
            archive.writestr(info, content)
        if kind == 5:
            inner = io.BytesIO()
            with zipfile.ZipFile(inner, "w") as nested:
                nested.writestr("a.dcm", members[0][1])
            archive.writestr("inner.zip", inner.getvalue())


def zip_bomb(path: Path, rng: np.random.Generator) -> None:
    """Members of zeros, or thousands of members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        if rng.random() < 0.5:
            for i in range(int(rng.integers(1, 3))):
                archive.writestr(f"{i}.dcm", bytes(2**26))
        else:
            for i in range(3000):
                archive.writestr(f"{i}.dcm", b"x")


VOLUME = (fields, fields, fields, spelling, voxels, declared, *BYTES)
DETACHED = (fields, fields, spelling, named_pipe, *BYTES)
MAT = (elements, elements, other_arrays, mat_bomb, *BYTES)
ZIP = (zip_names, zip_names, zip_bomb, directory, *BYTES)
"""All changes to volumes, to headers with the voxels beside them, to MATLAB files, to archives."""
