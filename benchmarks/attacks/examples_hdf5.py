"""HDF5 files on which readers have failed before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from attacks.base import Case, Kinds, edited
from medscore.io.hdf5 import is_sealed, seal

Edit = Callable[[Path], object]


def hdf5_examples(variants: Kinds) -> Iterator[tuple[str, Case]]:
    """Zeroed headers, links and external storage, and values that reach what is written."""

    def zeroed(start: int, size: int) -> Edit:
        def edit(path: Path) -> None:
            content = bytearray(path.read_bytes())
            content[start : start + size] = bytes(size)
            path.write_bytes(content)
            if is_sealed(path):
                seal(path)

        return edit

    def changed(change: Callable[[h5py.File], object]) -> Edit:
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
            for start in (0, 96, 512, 608, 800, 2048):
                for size in (8, 512):
                    yield f"zeroed {label} {start} {size}", edited(variant, zeroed(start, size))
            yield f"external {label}", edited(variant, changed(external(arrays[target])))
            ways = {
                "nowhere": h5py.SoftLink("/nowhere"), "itself": h5py.SoftLink(f"/{arrays[target]}"),
                "device": h5py.ExternalLink("/dev/zero", "/x"),
                "file": h5py.ExternalLink("o.h5", "/x"),
            }  # fmt: skip
            for way, link in ways.items():
                edit = changed(linked(arrays[target], link))
                yield f"link {label} {way}", edited(variant, edit)
    for variant in variants["measurement"]:
        if variant.target.endswith("coils.h5"):
            for value in (np.nan, np.inf):
                edit = changed(filled("operator/inner/sensitivity", value))
                yield f"sensitivities {variant.argv[0]} {value}", edited(variant, edit)
        if variant.target.endswith("noisy.h5"):
            for value in (
                "gaussian:0",
                "gaussian:nan",
                "gaussian:-1",
                "poisson:0",
                "gaussian:1e-300",
            ):
                edit = changed(lambda file, value=value: file.attrs.update(noise=value))
                yield f"noise {variant.argv[0]} {value}", edited(variant, edit)
        for value in (np.nan, 1e38, 0.0):
            name = f"{variant.target.split('/')[-1]} {variant.argv[0]}"
            edit = changed(filled("geometry/affine", value))
            yield f"affine {name} {value}", edited(variant, edit)
