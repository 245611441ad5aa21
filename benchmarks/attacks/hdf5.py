"""Changes to the objects of an HDF5 file: attributes, arrays, links and storage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from attacks.base import Mutator
from attacks.raw import BYTES
from attacks.values import changed, extreme
from medscore.io.hdf5 import is_sealed, seal


def _edits(change: Callable[[Any, np.random.Generator], None]) -> Mutator:
    """A change to an open file, whose seal is renewed nine times out of ten if it has one."""

    def mutate(path: Path, rng: np.random.Generator) -> None:
        had_seal = is_sealed(path)
        with h5py.File(path, "r+") as file:
            try:
                change(file, rng)
            except (
                TypeError,
                ValueError,
                OSError,
                RuntimeError,
                OverflowError,
                KeyError,
                IndexError,
            ):
                file.attrs["changed"] = 1  # HDF5 does not hold everything
        if had_seal and rng.random() < 0.9:
            seal(path)

    mutate.__name__ = change.__name__
    return mutate


def _objects(file: Any) -> list[Any]:
    found = [file]
    file.visititems(lambda name, item: found.append(item) or None)
    return found


def _arrays(file: Any) -> list[Any]:
    return [item for item in _objects(file) if isinstance(item, h5py.Dataset)]


def _one(items: list[Any], rng: np.random.Generator) -> Any:
    return items[int(rng.integers(len(items)))]


def _replace(item: Any, **options: Any) -> None:
    """Put another array in the place of one, with its attributes."""
    group, name, attributes = item.parent, item.name.rsplit("/", 1)[-1], dict(item.attrs)
    del group[name]
    made = group.create_dataset(name, **options)
    for key, value in attributes.items():
        made.attrs[key] = value


@_edits
def attributes(file: Any, rng: np.random.Generator) -> None:
    """Change, drop, rename or add an attribute."""
    item = _one([found for found in _objects(file) if len(found.attrs)] or [file], rng)
    names = list(item.attrs) or ["x"]
    name, kind = _one(names, rng), int(rng.integers(10))
    value = item.attrs.get(name)
    value = value.item() if isinstance(value, np.generic) else value
    if kind == 0:
        item.attrs.pop(name, None)
    elif kind == 1:
        item.attrs[name + "x"] = item.attrs.pop(name)
    elif kind == 2:
        others = (
            np.nan, np.array([1.0, np.nan]), np.zeros((2, 2)), np.bytes_(b"\xff\xfe"),
            h5py.Empty("f"), np.array(["a", "b"], dtype=h5py.string_dtype()), np.void(b"ab"), True,
            np.float16(1), np.zeros(3, [("a", "f4")]), file.ref, np.bytes_(b"a\0b"),
            np.complex64(1j),
        )  # fmt: skip
        item.attrs[name] = _one(list(others), rng)
    elif kind <= 4 and isinstance(value, str) and value[:1] in "{[":
        item.attrs[name] = json.dumps(changed(json.loads(value), rng))
    else:
        new = extreme(rng, value)
        item.attrs[name] = json.dumps(new) if isinstance(new, dict | list | None) else new


@_edits
def values(file: Any, rng: np.random.Generator) -> None:
    """Fill an array, or some of its values, with extreme numbers."""
    item = _one([found for found in _arrays(file) if found.dtype.kind in "fciu"], rng)
    number = float(
        rng.choice([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e38, 1e20, 1e-24, 1e-30, 1e300, 3e6])
    )
    if item.dtype.kind in "iu":
        number = float(rng.choice([0, 1, np.iinfo(item.dtype).max, np.iinfo(item.dtype).min]))
    data = np.asarray(item[()])
    places = rng.random(data.shape) < rng.choice([0.002, 0.2, 1.0])
    with np.errstate(all="ignore"):
        item[...] = np.where(places, np.array(number).astype(data.dtype), data)


@_edits
def types(file: Any, rng: np.random.Generator) -> None:
    """Store an array in another type."""
    item = _one(_arrays(file), rng)
    data = np.asarray(item[()])
    numeric = data.dtype.kind in "fciub"
    real = data.real if data.dtype.kind == "c" else data
    others: list[Callable[[], dict[str, Any]]] = [
        lambda: {"data": np.zeros(data.shape, [("a", "f4"), ("b", "i2")])},
        lambda: {"data": np.full(data.shape, b"ab")}, lambda: {"shape": (2, 2),
            "dtype": h5py.ref_dtype},
        lambda: {"shape": data.shape, "dtype": h5py.string_dtype()},
        lambda: {"data": h5py.Empty("f4")},
        lambda: {"shape": data.shape, "dtype": h5py.vlen_dtype(np.float32)},
        lambda: {"shape": data.shape, "dtype": h5py.enum_dtype({"A": 1})},
        lambda: {"data": np.void(b"xyz")},
        lambda: {"data": np.zeros(data.shape, "V5")}, lambda: {"data": 1.0},
        lambda: {"data": "text"},
    ]  # fmt: skip
    if numeric:
        others += [
            lambda: {"data": real.astype("f8")}, lambda: {"data": real.astype(">f4")},
            lambda: {"data": real.astype("f2")}, lambda: {"data": data.astype("c16")},
            lambda: {"data": np.nan_to_num(real).astype("i1")}, lambda: {"data": real > 0},
            lambda: {"data": real.astype("longdouble")},
            lambda: {"data": np.nan_to_num(real).astype("u8")},
        ]  # fmt: skip
    with np.errstate(all="ignore"):
        options = _one(others, rng)()
    _replace(item, **options)


@_edits
def shapes(file: Any, rng: np.random.Generator) -> None:
    """Store an array in another shape, or declare one that holds nothing."""
    item = _one([found for found in _arrays(file) if found.shape], rng)
    data = np.asarray(item[()])
    huge = (2**20, 2**12) if rng.random() < 0.5 else (2**31, *data.shape)
    others: list[Callable[[], dict[str, Any]]] = [
        lambda: {"data": data.T}, lambda: {"data": data[0]}, lambda: {"data": data[None]},
        lambda: {"data": data[:0]}, lambda: {"data": data.ravel()},
        lambda: {"data": data[..., :-1]},
        lambda: {"data": data[:-1]}, lambda: {"data": data[..., :1]},
        lambda: {"data": np.concatenate([data, data])},
        lambda: {"shape": huge, "dtype": data.dtype, "chunks": True},
        lambda: {"shape": data.shape, "dtype": data.dtype, "maxshape": (None,) * data.ndim,
            "chunks": True},
        lambda: {"shape": (0,), "dtype": data.dtype, "maxshape": (None,)},
        lambda: {"shape": tuple(4096 for _ in data.shape[:3]), "dtype": data.dtype, "chunks": True,
            "compression": "gzip"},
    ]  # fmt: skip
    _replace(item, **_one(others, rng)())


@_edits
def links(file: Any, rng: np.random.Generator) -> None:
    """Drop an object, or put a link, a loop, a group or external storage in its place."""
    item = _one(_objects(file)[1:], rng)
    group, name, path = item.parent, item.name.rsplit("/", 1)[-1], file.filename
    kind = int(rng.integers(12))
    shape = item.shape if isinstance(item, h5py.Dataset) and item.shape else (4, 4)
    if kind == 1:
        group[name + "2"] = item
    del group[name]
    if kind == 2:
        group[name] = h5py.SoftLink(f"/{name}")
    elif kind == 3:
        group[name] = h5py.SoftLink("/nowhere")
    elif kind == 4:
        group[name] = h5py.ExternalLink(path, "/")
    elif kind == 5:
        targets = ("/dev/zero", "/etc/passwd", "none.h5", "../x.h5", "in/fifo")
        group[name] = h5py.ExternalLink(_one(list(targets), rng), item.name or "/")
    elif kind == 6:
        group[name] = file["/"]
    elif kind == 7:
        group.create_group(name).create_group("x")
    elif kind == 8:
        targets = ("/etc/passwd", "/dev/zero", "none.bin")
        external = [(_one(list(targets), rng), 0, h5py.h5f.UNLIMITED)]
        group.create_dataset(name, shape, "f4", external=external)
    elif kind == 9:
        layout = h5py.VirtualLayout(shape, "f4")
        layout[...] = h5py.VirtualSource(_one([path, "/etc/passwd", "none.h5"], rng), "/x", shape)
        group.create_virtual_dataset(name, layout)
    elif kind == 10:
        group[name] = np.dtype("f4")
    elif kind == 11:
        for _ in range(400):
            group = group.create_group(name)


@_edits
def storage(file: Any, rng: np.random.Generator) -> None:
    """Store an array with other filters or chunks, and damage a chunk of it."""
    item = _one(
        [found for found in _arrays(file) if found.shape and found.dtype.kind in "fciu"], rng
    )
    data = np.asarray(item[()])
    ways: list[dict[str, Any]] = [
        {"fletcher32": True}, {"compression": "lzf"}, {"compression": "gzip", "shuffle": True},
        {"chunks": tuple(1 for _ in data.shape)} if data.size < 3000 else {"chunks": True},
        {"chunks": True},
    ]  # fmt: skip
    group, name = item.parent, item.name.rsplit("/", 1)[-1]
    _replace(item, data=data, **_one(ways, rng))
    chunked = group[name]
    if rng.random() < 0.7 and chunked.chunks:
        chunked.id.write_direct_chunk((0,) * data.ndim, rng.bytes(int(rng.choice([0, 1, 100]))))


XML = (
    "<x>0</x>", "<x>-1</x>", "<x>99999999999</x>", "<x>nan</x>", "<x></x>", "<y>1e9</y>",
    "<z>7</z>",
    "<minimum>-5</minimum>", "<maximum>999999</maximum>", "<center>-1</center>",
    "<trajectory>spiral</trajectory>", "<trajectory></trajectory>",
)  # fmt: skip


@_edits
def xml_header(file: Any, rng: np.random.Generator) -> None:
    """Change an element of the ISMRMRD header, or its document."""
    item = file["ismrmrd_header"] if "ismrmrd_header" in file else file["dataset/xml"]
    raw = item[()] if item.shape == () else item[0]
    text = raw.decode() if isinstance(raw, bytes) else str(raw)
    new = _one(list(XML), rng)
    tag = new[1 : new.index(">")]
    places = [k for k in range(len(text)) if text.startswith(f"<{tag}>", k)]
    kind = int(rng.integers(8))
    laughs = "<!DOCTYPE a [<!ENTITY a0 'ha'>" + "".join(
        f"<!ENTITY a{k} '{f'&a{k - 1};' * 10}'>" for k in range(1, 9)
    )
    whole = (
        "", text[: len(text) // 2], laughs + "]><x>&a8;</x>", "<a>" * 20_000,
        "<a>" * 3000 + "</a>" * 3000, "null",
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
        text.replace("encoding>", "other>"),
        text.replace("<x>", "<w>").replace("</x>", "</w>"), text + text,
        text.replace("http://www.ismrm.org/ISMRMRD", "u"),
    )  # fmt: skip
    if kind <= 5 and places:
        k = _one(places, rng)
        end = text.index(f"</{tag}>", k) + len(tag) + 3
        text = text[:k] + (new if kind else "") + text[end:]
    else:
        text = _one(list(whole), rng)
    shape, name, group = item.shape, item.name.rsplit("/", 1)[-1], item.parent
    del group[name]
    group.create_dataset(name, data=text if shape == () else [text], dtype=h5py.string_dtype())


@_edits
def acquisitions(file: Any, rng: np.random.Generator) -> None:
    """Change the heads, the data or the number of an ISMRMRD file's acquisitions."""
    table = file["dataset/data"]
    rows = table[()]
    head, kind = rows["head"], int(rng.integers(6))
    chosen = slice(None) if rng.random() < 0.5 else int(rng.integers(len(rows)))
    if kind <= 2:
        name = _one([n for n in head.dtype.names if head.dtype[n].shape == ()], rng)
        target = head
        if name == "idx":
            target, name = head["idx"], _one(list(head["idx"].dtype.names), rng)
        if target.dtype[name].kind in "iuf" and target.dtype[name].shape == ():
            width = 8 * target.dtype[name].itemsize
            value = _one([0, 1, 2, 7, 2 ** (width - 1) - 1, 2 ** (width - 1), 2**width - 1], rng)
            kinds = target.dtype[name].kind
            target[name][chosen] = value if kinds != "i" else min(value, 2 ** (width - 1) - 1)
    elif kind == 3:
        head[chosen] = np.zeros((), head.dtype)
    elif kind == 4:
        for k in range(len(rows)) if isinstance(chosen, slice) else [chosen]:
            fill = rng.choice([np.nan, np.inf, 0.0, 1e38, 1e-24])
            size = len(rows["data"][k]) + int(rng.choice([0, 0, -1, 1, -4, 4]))
            rows["data"][k] = np.full(max(0, size), fill, np.float32)
    else:
        rows = rows[: int(rng.choice([0, 1, 2, 33]))]
    del file["dataset/data"]
    file.create_dataset("dataset/data", data=rows, dtype=rows.dtype, maxshape=(None,), chunks=True)


HDF5 = (
    attributes,
    attributes,
    attributes,
    values,
    values,
    types,
    shapes,
    links,
    links,
    storage,
    *BYTES,
)
"""All changes to HDF5 files."""
FASTMRI = (*HDF5, xml_header, xml_header)
ISMRMRD = (*HDF5, xml_header, xml_header, acquisitions, acquisitions, acquisitions, acquisitions)
"""All changes to raw k-space files."""
