"""Measurement processes A = P(Lambda) T and their simulation.

The public names are imported when they are first used, so that importing this package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medscore.operators.adapters import from_deepinv, from_sigpy
    from medscore.operators.base import Operator
    from medscore.operators.ct.geometry import FanBeam, ParallelAngles, ParallelBeam
    from medscore.operators.ct.radon import Radon
    from medscore.operators.ct.scans import fan_sparse_view, limited_angle, sparse_view, view_list
    from medscore.operators.images.blur import Blur
    from medscore.operators.images.colorization import Colorization
    from medscore.operators.images.inpainting import Inpainting
    from medscore.operators.images.super_resolution import SuperResolution
    from medscore.operators.linear import LinearOperator
    from medscore.operators.mri.fourier import Fourier
    from medscore.operators.mri.hartley import Hartley
    from medscore.operators.mri.multicoil import MulticoilFourier
    from medscore.operators.mri.nufft import NonuniformFourier
    from medscore.operators.noise import (
        ComplexGaussianNoise,
        GaussianNoise,
        Noiseless,
        NoiseModel,
        PoissonNoise,
    )
    from medscore.operators.wrappers.padded import Padded
    from medscore.operators.wrappers.restricted import Restricted
    from medscore.operators.wrappers.stack import Stack
    from medscore.operators.wrappers.whitened import Whitened

_MODULES = {
    "adapters": ("from_deepinv", "from_sigpy"),
    "base": ("Operator",),
    "ct.geometry": ("FanBeam", "ParallelAngles", "ParallelBeam"),
    "ct.radon": ("Radon",),
    "ct.scans": ("fan_sparse_view", "limited_angle", "sparse_view", "view_list"),
    "images.blur": ("Blur",),
    "images.colorization": ("Colorization",),
    "images.inpainting": ("Inpainting",),
    "images.super_resolution": ("SuperResolution",),
    "linear": ("LinearOperator",),
    "mri.fourier": ("Fourier",),
    "mri.hartley": ("Hartley",),
    "mri.multicoil": ("MulticoilFourier",),
    "mri.nufft": ("NonuniformFourier",),
    "noise": ("ComplexGaussianNoise", "GaussianNoise", "NoiseModel", "Noiseless", "PoissonNoise"),
    "wrappers.padded": ("Padded",),
    "wrappers.restricted": ("Restricted",),
    "wrappers.stack": ("Stack",),
    "wrappers.whitened": ("Whitened",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Blur",
    "Colorization",
    "ComplexGaussianNoise",
    "FanBeam",
    "Fourier",
    "GaussianNoise",
    "Hartley",
    "Inpainting",
    "LinearOperator",
    "MulticoilFourier",
    "NoiseModel",
    "Noiseless",
    "NonuniformFourier",
    "Operator",
    "Padded",
    "ParallelAngles",
    "ParallelBeam",
    "PoissonNoise",
    "Radon",
    "Restricted",
    "Stack",
    "SuperResolution",
    "Whitened",
    "fan_sparse_view",
    "from_deepinv",
    "from_sigpy",
    "limited_angle",
    "sparse_view",
    "view_list",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
