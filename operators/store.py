"""Writing operators to HDF5 files and reading them: the class and its constructor's arguments.

A file stores ``Operator.settings()``: numbers and text as attributes, arrays as datasets, and every
part with arguments of its own (a geometry, a noise model, an operator) as a group whose attribute
``kind`` names its class. An operator that files should support needs a line in ``KINDS``.
"""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.io.files import atomic_write
from medscore.io.hdf5 import array, member, open_hdf5
from medscore.io.opening import regular_file
from medscore.operators import noise
from medscore.operators.base import Adjoint, Composition, Operator, Scaled, Sum
from medscore.operators.ct import geometry
from medscore.operators.ct.cone.beam import ConeBeam
from medscore.operators.ct.cone.geometry import ConeGeometry, VoxelGrid
from medscore.operators.ct.radon import Radon
from medscore.operators.images.blur import Blur
from medscore.operators.images.colorization import Colorization
from medscore.operators.images.inpainting import Inpainting
from medscore.operators.images.super_resolution import SuperResolution
from medscore.operators.mri.fourier import Fourier
from medscore.operators.mri.hartley import Hartley
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.multicoil_nufft import MulticoilNonuniform
from medscore.operators.mri.nufft import NonuniformFourier
from medscore.operators.mri.real_images import Phased, TwoChannels
from medscore.operators.wrappers.padded import Padded
from medscore.operators.wrappers.resampled import Resampled
from medscore.operators.wrappers.restricted import Restricted
from medscore.operators.wrappers.stack import Stack
from medscore.operators.wrappers.whitened import Whitened

KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Radon,
        ConeBeam,
        Fourier,
        Hartley,
        MulticoilFourier,
        NonuniformFourier,
        MulticoilNonuniform,
        Inpainting,
        Colorization,
        SuperResolution,
        Blur,
        Stack,
        Padded,
        Resampled,
        Restricted,
        Whitened,
        Phased,
        TwoChannels,
        Adjoint,
        Composition,
        Sum,
        Scaled,
        geometry.ParallelBeam,
        geometry.ParallelAngles,
        geometry.FanBeam,
        ConeGeometry,
        VoxelGrid,
        noise.Noiseless,
        noise.GaussianNoise,
        noise.ComplexGaussianNoise,
        noise.PoissonNoise,
    )
}
"""The classes that a file may contain, by name. No other object is constructed from a file."""

FORMAT = "medscore-operator-1"


def save(path: Path, operator: Operator) -> None:
    """Write an operator to an HDF5 file of its own, atomically.

    Args:
        path: the file to write.
        operator: the operator.

    Raises:
        MedscoreError: the folder cannot be written.
        ValueError: the operator cannot be stored in a file.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["format"] = FORMAT
        write(file.create_group("operator"), operator)
    atomic_write(path, buffer.getvalue())


def load(path: Path) -> Operator:
    """Read an operator that :func:`save` wrote.

    Args:
        path: the file to read.

    Raises:
        MedscoreError: no such file, another format, or contents that are not an operator.
    """
    regular_file(path, "operator file", "write one with operators.store.save")
    with open_hdf5(path, "an operator", "save it again") as file:
        if file.attrs.get("format") != FORMAT:
            raise ValueError(f"format is {file.attrs.get('format')!r}, expected {FORMAT!r}")
        operator: Operator = read(member(file, "operator"))
        return operator


def write(group: Any, part: object) -> None:
    """Write an operator, or a part of one, into an open HDF5 group.

    Args:
        group: the group.
        part: an operator, a geometry or a noise model.

    Raises:
        ValueError: ``part`` cannot be stored, or its class is not in ``KINDS``.
    """
    kind, settings = type(part).__name__, _settings(part)
    if KINDS.get(kind) is not type(part):
        raise ValueError(f"{kind} is not in operators.store.KINDS")
    group.attrs["kind"] = kind
    for name, value in settings.items():
        match value:
            case None:
                continue
            case Tensor():
                group.create_dataset(name, data=_compact(value), compression="gzip", shuffle=True)
            case bool() | int() | float() | str():
                group.attrs[name] = value
            case tuple():
                group.attrs[name] = np.asarray(value)
            case _:
                write(group.create_group(name), value)


def read(group: Any) -> Any:
    """The operator, or the part of one, that :func:`write` put into a group.

    Args:
        group: the group.

    Raises:
        ValueError: an unknown kind, or arguments that its class refuses.
    """
    attributes = dict(group.attrs)
    kind = attributes.pop("kind", None)
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(sorted(KINDS))}")
    arguments: dict[str, Any] = {name: _python(value) for name, value in attributes.items()}
    for name in group:
        item = member(group, name)
        arguments[name] = read(item) if isinstance(item, h5py.Group) else _tensor(item)
    try:
        return KINDS[kind](**arguments)
    except MedscoreError as error:  # the caller states the file and what to do about it
        raise ValueError(error.what) from error


def _settings(part: object) -> dict[str, Any]:
    if isinstance(part, Operator):
        return part.settings()
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        return {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    raise ValueError(f"{type(part).__name__} is neither an operator nor a dataclass")


def _compact(value: Tensor) -> NDArray[Any]:
    numbers: NDArray[Any] = value.detach().cpu().numpy()
    return numbers.astype(np.uint8) if numbers.dtype == np.bool_ else numbers


def _tensor(dataset: Any) -> Tensor:
    return torch.from_numpy(np.asarray(array(dataset, "uifc", single=False)))


def _python(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return tuple(value.tolist())
    return value.item() if hasattr(value, "item") else value
