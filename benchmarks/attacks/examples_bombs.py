"""Files that hold or declare many times their size."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tifffile

from attacks.arrays import header_of
from attacks.base import Case, Kinds, edited, reader
from attacks.dicom_elements import PIXELS, Element, build, parse, set_element
from attacks.pictures import png_of

Edit = Callable[[Path], object]


def bomb_examples(variants: Kinds) -> Iterator[tuple[str, Case]]:
    """Files that hold or declare many times their size."""
    side, slices = 512, 256  # 256 MiB of float32, 128 MiB of int16
    held = 4 * side * side * slices

    def nifti(shape: tuple[int, int, int], blocks: int) -> Edit:
        def edit(path: Path) -> None:
            head = bytearray(gzip.decompress(path.read_bytes())[:352])
            head[40:56] = struct.pack("<8h", 3, *shape, 1, 1, 1, 1)
            pack = zlib.compressobj(1, zlib.DEFLATED, 31)
            with path.open("wb") as file:
                file.write(pack.compress(bytes(head)))
                for _ in range(blocks):
                    file.write(pack.compress(bytes(2**20)))
                file.write(pack.flush())

        return edit

    scan = reader(variants, "nifti", "ct.nii.gz", "inspect")
    yield "bomb nifti", edited(scan, nifti((side, side, slices), held // 2**20), held)
    yield "bomb nifti declared", edited(scan, nifti((32767, 32767, 32767), 4))

    def deflated(path: Path) -> None:
        parsed = parse(path.read_bytes())
        frames = bytes(2 * side * side * slices)
        kept = [e for e in parsed.elements if e.tag != PIXELS]
        parsed.elements[:] = kept
        set_element(parsed, 0x00280008, "IS", str(slices).encode())
        set_element(parsed, 0x00280010, "US", struct.pack("<H", side))
        set_element(parsed, 0x00280011, "US", struct.pack("<H", side))
        parsed.elements.append(Element(PIXELS, "OW", len(frames), frames))
        path.write_bytes(build(parsed))

    yield (
        "bomb deflated",
        edited(reader(variants, "dicom", "deflated.dcm", "inspect"), deflated, held),
    )

    def archive(count: int, length: int) -> Edit:
        def edit(path: Path) -> None:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
                with file.open("hu.npy", "w", force_zip64=True) as member:
                    member.write(header_of("'<f4'", "False", f"({count}, 32, 32)"))
                    for _ in range(length // 2**20):
                        member.write(bytes(2**20))
                buffer = io.BytesIO()
                np.save(buffer, np.array(["a"]))
                file.writestr("patient.npy", buffer.getvalue())

        return edit

    archives = reader(variants, "npz", "slices.npz")
    yield "bomb npz", edited(archives, archive(held // 4096, held), held)
    yield "bomb npz declared", edited(archives, archive(2**22, 2**22))

    def stack(shape: tuple[int, int, int]) -> Edit:
        def edit(path: Path) -> None:
            tifffile.imwrite(path, np.zeros((2, 60, 47), np.float32), compression="zlib")
            content = bytearray(path.read_bytes())
            for k in range(len(content) - 12):
                tag, kind = struct.unpack_from("<HH", content, k)
                if (tag, kind) in ((256, 4), (256, 3), (257, 4), (257, 3)):
                    struct.pack_into("<HHII", content, k, tag, 4, 1, shape[tag - 255])
            path.write_bytes(content)

        return edit

    pages = reader(variants, "projections", "plain.tif")
    yield "bomb tiff declared", edited(pages, stack((1, 65535, 65535)))
    yield "bomb tiff 16 GiB", edited(pages, stack((1, 2**16, 2**16)))
    picture = reader(variants, "pictures", "picture.png")

    def png(path: Path) -> None:
        head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
        data = zlib.compress(bytes(20_000) * 2000, 1)
        path.write_bytes(png_of([(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]))

    yield "bomb png", edited(picture, png)

    def postscript(path: Path) -> None:
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n")

    yield "postscript named png", edited(picture, postscript)
