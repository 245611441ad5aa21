"""Inputs that always run: those on which readers have failed before."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import tifffile

from attacks.arrays import header_of
from attacks.base import Input, Variant, lay_out
from attacks.dicom import PIXELS, Element, _set, build, parse
from attacks.dicom_files import SYNTAXES
from attacks.pictures import _png
from attacks.tally import Case
from medscore.io.hdf5 import is_sealed, seal

Kinds = Mapping[str, Sequence[Variant]]
Edit = Callable[[Path], object]

VALUES = {
    "date": "2026-13-45", "int": "!!int abc", "digits": "9" * 5000, "set": "!!set [a]",
    "flow": "[" * 10_000, "closed flow": "[" * 10_000 + "]" * 10_000,
    "block": "\n" + "\n".join(" " * (k + 1) + "a:" for k in range(2000)),
    "tag": "!!python/name:os.system",
    "float": "!!float x", "timestamp": "!!timestamp x", "loop": "&a [*a]", "key": "{[1]: 2}",
}  # fmt: skip
"""YAML that PyYAML answers with other errors than its own."""


def examples(variants: Kinds) -> dict[str, Case]:
    """All examples by name.

    Args:
        variants: the commands that read each kind.
    """
    found: dict[str, Case] = {}
    for part in (_yaml, _dicom, _bombs, _hdf5, _values, _long_work):
        found |= {name.replace(" ", "-"): case for name, case in part(variants)}
    return found


def _case(variant: Variant, edit: Edit, arrays: int = 0) -> Case:
    """A variant's valid files with an edit of its target."""

    def write(folder: Path) -> Input:
        lay_out(variant, folder)
        edit(folder / variant.target)
        size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        return Input(variant.argv, edit.__name__, size + variant.arrays + arrays)

    return write


def _reader(variants: Kinds, kind: str, target: str, command: str = "") -> Variant:
    """The first command of a kind that reads a file."""
    return next(
        one for one in variants[kind]
        if one.target.endswith(target) and (not command or one.argv[0] == command)
    )  # fmt: skip


def _yaml(variants: Kinds) -> Iterator[tuple[str, Case]]:
    """Each odd value as a new key of each kind of file, and in place of its first value."""

    def added(text: str) -> Edit:
        return lambda path: path.write_text(path.read_text() + f"x: {text}\n")

    def first(text: str) -> Edit:
        def edit(path: Path) -> None:
            lines = path.read_text().splitlines()
            lines[0] = lines[0].split(":")[0] + f": {text}"
            path.write_text("\n".join(lines) + "\n")

        return edit

    for kind in ("recipe", "evaluation", "tuning", "preset", "geometry", "contract"):
        for name, text in VALUES.items():
            yield f"yaml {kind} {name}", _case(variants[kind][0], added(text))
            yield f"yaml {kind} {name} first", _case(variants[kind][0], first(text))


def _dicom(variants: Kinds) -> Iterator[tuple[str, Case]]:
    """A false number of frames in every transfer syntax, and NULs in texts."""

    def edited(tag: int, vr: str, value: bytes) -> Edit:
        def edit(path: Path) -> None:
            parsed = parse(path.read_bytes())
            _set(parsed, tag, vr, value)
            path.write_bytes(build(parsed))

        return edit

    for name in SYNTAXES:
        for command in ("inspect", "simulate"):
            reader = _reader(variants, "dicom", f"{name}.dcm", command)
            for count in (2, 3, 30_000, 65_536, 2**31 - 1):
                frames = edited(0x00280008, "IS", str(count).encode())
                yield f"frames {name} {count} {command}", _case(reader, frames)
    for count in (3, 5, 40_000):
        for name in ("enhanced-ct.dcm", "enhanced-mr.dcm"):
            frames = edited(0x00280008, "IS", str(count).encode())
            yield f"frames {name} {count}", _case(_reader(variants, "dicom-folder", name), frames)
    reader = _reader(variants, "dicom", "explicit.dcm", "simulate")
    texts = {
        "series description": (0x0008103E, "LO", b"a\0b c"),
        "study": (0x0020000D, "UI", b"2.25\0.1\0"),
        "series": (0x0020000E, "UI", b"2.25.\0\0.1"), "instance": (0x00080018, "UI", b"2.25.01"),
        "frame": (0x00200052, "UI", b"1" * 66), "modality": (0x00080060, "CS", b"CT\0\0"),
        "patient": (0x00100010, "PN", b"a\0b^c"), "unit": (0x00281054, "LO", b"HU\0U"),
    }  # fmt: skip
    for name, (tag, vr, value) in texts.items():
        yield f"nul {name}", _case(reader, edited(tag, vr, value))


def _bombs(variants: Kinds) -> Iterator[tuple[str, Case]]:
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

    scan = _reader(variants, "nifti", "ct.nii.gz", "inspect")
    yield "bomb nifti", _case(scan, nifti((side, side, slices), held // 2**20), held)
    yield "bomb nifti declared", _case(scan, nifti((32767, 32767, 32767), 4))

    def deflated(path: Path) -> None:
        parsed = parse(path.read_bytes())
        frames = bytes(2 * side * side * slices)
        kept = [e for e in parsed.elements if e.tag != PIXELS]
        parsed.elements[:] = kept
        _set(parsed, 0x00280008, "IS", str(slices).encode())
        _set(parsed, 0x00280010, "US", struct.pack("<H", side))
        _set(parsed, 0x00280011, "US", struct.pack("<H", side))
        parsed.elements.append(Element(PIXELS, "OW", len(frames), frames))
        path.write_bytes(build(parsed))

    yield (
        "bomb deflated",
        _case(_reader(variants, "dicom", "deflated.dcm", "inspect"), deflated, held),
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

    reader = _reader(variants, "npz", "slices.npz")
    yield "bomb npz", _case(reader, archive(held // 4096, held), held)
    yield "bomb npz declared", _case(reader, archive(2**22, 2**22))

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

    pages = _reader(variants, "projections", "plain.tif")
    yield "bomb tiff declared", _case(pages, stack((1, 65535, 65535)))
    yield "bomb tiff 16 GiB", _case(pages, stack((1, 2**16, 2**16)))
    picture = _reader(variants, "pictures", "picture.png")

    def png(path: Path) -> None:
        head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
        data = zlib.compress(bytes(20_000) * 2000, 1)
        path.write_bytes(_png([(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]))

    yield "bomb png", _case(picture, png)

    def postscript(path: Path) -> None:
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n")

    yield "postscript named png", _case(picture, postscript)


def _hdf5(variants: Kinds) -> Iterator[tuple[str, Case]]:
    """Zeroed headers, links and external storage, and values that reach what is written."""

    def zeroed(start: int, size: int) -> Edit:
        def edit(path: Path) -> None:
            content = bytearray(path.read_bytes())
            content[start : start + size] = bytes(size)
            path.write_bytes(content)
            if is_sealed(path):
                seal(path)

        return edit

    def edited(change: Callable[[h5py.File], object]) -> Edit:
        def edit(path: Path) -> None:
            with h5py.File(path, "r+") as file:
                change(file)
            if is_sealed(path):
                seal(path)

        return edit

    def external(name: str) -> Callable[[h5py.File], object]:
        def change(file: h5py.File) -> None:
            shape = file[name].shape
            del file[name]
            file.create_dataset(name, shape, "f4", external=[("/dev/zero", 0, h5py.h5f.UNLIMITED)])

        return change

    def linked(name: str, link: object) -> Callable[[h5py.File], object]:
        def change(file: h5py.File) -> None:
            del file[name]
            file[name] = link

        return change

    def filled(name: str, value: float) -> Callable[[h5py.File], object]:
        def change(file: h5py.File) -> None:
            file[name][...] = value

        return change

    arrays = {"ct.h5": "data", "coils.h5": "data", "fastmri.h5": "kspace",
        "ismrmrd.h5": "dataset/data",
              "stack.h5": "exchange/data"}  # fmt: skip
    for kind in ("measurement", "fastmri", "ismrmrd", "projections"):
        for variant in variants[kind]:
            target = variant.target.split("/")[-1]
            if target not in arrays:
                continue
            label = f"{target} {variant.argv[0]}"
            for start in (0, 8, 96, 512, 520, 608, 800, 1024, 2048):
                for size in (8, 96, 512):
                    yield f"zeroed {label} {start} {size}", _case(variant, zeroed(start, size))
            yield f"external {label}", _case(variant, edited(external(arrays[target])))
            ways = {
                "nowhere": h5py.SoftLink("/nowhere"), "itself": h5py.SoftLink(f"/{arrays[target]}"),
                "device": h5py.ExternalLink("/dev/zero", "/x"),
                "file": h5py.ExternalLink("o.h5", "/x"),
            }  # fmt: skip
            for way, link in ways.items():
                edit = edited(linked(arrays[target], link))
                yield f"link {label} {way}", _case(variant, edit)
    for variant in variants["measurement"]:
        if variant.target.endswith("coils.h5"):
            for value in (np.nan, np.inf):
                edit = edited(filled("operator/sensitivities", value))
                yield f"sensitivities {variant.argv[0]} {value}", _case(variant, edit)
        if variant.target.endswith("noisy.h5"):
            for value in (
                "gaussian:0",
                "gaussian:nan",
                "gaussian:-1",
                "poisson:0",
                "gaussian:1e-300",
            ):
                edit = edited(lambda file, value=value: file.attrs.update(noise=value))
                yield f"noise {variant.argv[0]} {value}", _case(variant, edit)
        for value in (np.nan, 1e38, 0.0):
            name = f"{variant.target.split('/')[-1]} {variant.argv[0]}"
            edit = edited(filled("geometry/affine", value))
            yield f"affine {name} {value}", _case(variant, edit)


def _values(variants: Kinds) -> Iterator[tuple[str, Case]]:
    """Arrays of types without a size."""
    for target in ("kspace.npy", "features.npy", "pictures.npy"):
        for descr, shape in (("'|S0'", "(-1,)"), ("'|V0'", "(-1,)"), ("'<U0'", "(-1,)"), ("'<f4'",
                "(-1,)"),
                             ("[('a', '|S0')]", "(-1,)"), ("'|S0'", "(2, 0)")):  # fmt: skip
            content = header_of(descr, "False", shape) + bytes(64)

            def edit(path: Path, content: bytes = content) -> None:
                path.write_bytes(content)

            yield f"npy {target} {descr} {shape}", _case(_reader(variants, "npy", target), edit)


def _long_work(variants: Kinds) -> Iterator[tuple[str, Case]]:
    """Settings that mean hours of work, of which there must be a sign from the first second."""

    def line(old: str, new: str) -> Edit:
        return lambda path: path.write_text(path.read_text().replace(old, new))

    preset = variants["preset"][0]
    yield "preset of 100000 steps", _case(preset, line("steps: 1\n", "steps: 100000\n"))
    yield "preset of 2^31 steps", _case(preset, line("steps: 1\n", f"steps: {2**31}\n"))
    for kind, target in (("evaluation", "evaluation.yaml"), ("tuning", "tuning.yaml")):
        for views in (3_000_000, 2**64):
            edit = line("views: 9", f"views: {views}")
            yield f"{kind} of {views} views", _case(_reader(variants, kind, target), edit)
    recipe = variants["recipe"][0]
    for steps in (8192, 2**31, 2**64):
        yield f"recipe of {steps} steps", _case(recipe, line("steps: 2\n", f"steps: {steps}\n"))
