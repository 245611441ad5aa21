"""Changes to safetensors files: header, contract and weights, with hashes that fit again."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save

from attacks.raw import BYTES
from attacks.values import NUMBERS, changed, extreme
from medscore.io.weights import weights_hash


def _taken_apart(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def _put_together(path: Path, header: Any, data: bytes) -> None:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def tensors(path: Path, rng: np.random.Generator) -> None:
    """Change the stated type, shape or place of tensors."""
    header, data = _taken_apart(path)
    names = [name for name in header if name != "__metadata__"]
    if not names:
        length(path, rng)
        return
    name, kind = names[int(rng.integers(len(names)))], int(rng.integers(6))
    if kind == 0:
        types = ("F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "X", "", None, 3)
        header[name]["dtype"] = types[int(rng.integers(len(types)))]
    elif kind == 1:
        shapes = ([], [-1], [0], [2**63], [2**40, 2**40], [1] * 80, [1.5], "a", None)
        header[name]["shape"] = shapes[int(rng.integers(len(shapes)))]
    elif kind == 2:
        header[name]["data_offsets"] = [int(n) for n in rng.choice([0, 4, len(data), 2**40], 2)]
    elif kind == 3:
        header[name + "x" * int(rng.choice([1, 3000]))] = header.pop(name)
    elif kind == 4:
        header = changed(header, rng)
    else:
        _put_together(path, header, data[: int(rng.integers(len(data)))])
        return
    _put_together(path, header, data)


def length(path: Path, rng: np.random.Generator) -> None:
    """State another length of the header, or a header of thousands of nested lists."""
    content = path.read_bytes()
    lengths = (0, 1, 8, 10**6, 10**8, 2**31, 2**40, 2**63, 2**64 - 1)
    if rng.random() < 0.3:
        text = b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
        path.write_bytes(struct.pack("<Q", len(text)) + text)
        return
    path.write_bytes(struct.pack("<Q", lengths[int(rng.integers(len(lengths)))]) + content[8:])


def metadata(path: Path, rng: np.random.Generator) -> None:
    """Change the metadata: the contract or another entry that holds JSON, or a text."""
    header, data = _taken_apart(path)
    said = header.get("__metadata__", {})
    if not said:  # of another library
        tensors(path, rng)
        return
    name = list(said)[int(rng.integers(len(said)))]
    try:
        inner = json.loads(said[name])
    except ValueError:
        inner = None
    if isinstance(inner, dict | list) and inner and rng.random() < 0.85:
        said[name] = json.dumps(changed(inner, rng, times=int(rng.integers(1, 3))))
    else:
        said[name] = str(extreme(rng, said[name]))
    _put_together(path, header, data)


def values(path: Path, rng: np.random.Generator) -> None:
    """Fill weights with extreme values, and renew their hash."""
    header, _ = _taken_apart(path)
    weights = load(path.read_bytes())
    if not weights:
        length(path, rng)
        return
    name = list(weights)[int(rng.integers(len(weights)))]
    number: float | torch.Tensor = float(NUMBERS[int(rng.integers(len(NUMBERS)))])
    filled = weights[name].clone()
    whole = rng.random() < 0.5
    if filled.is_floating_point():
        number = torch.tensor(number, dtype=torch.float64).to(filled.dtype)
        filled.view(-1)[: None if whole else 1] = number
    else:
        filled.zero_()
    _resave(path, header, {**weights, name: filled})


def reshaped(path: Path, rng: np.random.Generator) -> None:
    """Drop, add, cut or convert tensors, and renew their hash."""
    header, _ = _taken_apart(path)
    weights = load(path.read_bytes())
    if not weights:
        length(path, rng)
        return
    name, kind = list(weights)[int(rng.integers(len(weights)))], int(rng.integers(6))
    value = weights[name]
    if kind == 0:
        del weights[name]
    elif kind == 1:
        weights[name + ".more"] = value.clone()
    elif kind == 2:
        weights[name] = value.flatten()[:1].clone()
    elif kind == 3:
        weights[name] = value.to([torch.int64, torch.bool, torch.float64][int(rng.integers(3))])
    elif kind == 4:
        weights[name] = torch.zeros(0)
    else:
        weights[name] = value[None].expand(2, *value.shape).contiguous()
    _resave(path, header, weights)


def _resave(path: Path, header: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    said = dict(header.get("__metadata__", {}))
    if "sha256" in said:
        said["sha256"] = weights_hash(weights)
    path.write_bytes(save(weights, metadata=said))


WEIGHTS = (tensors, tensors, length, metadata, metadata, metadata, values, values, reshaped, *BYTES)
"""All changes to safetensors files."""
