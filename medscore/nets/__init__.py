"""Networks F(x, c): images x (batch, channel, H, W) and a condition c (batch,) to images like x.

The condition describes the noise level of x. What c is and what F predicts is set by
:mod:`medscore.priors.preconditioning`, with which :class:`medscore.priors.network.NetworkPrior`
obtains the same denoiser and score from every network. The names are loaded when they are first
used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medscore.nets.diffusers_unet import DiffusersUNet, DiffusersUNetSpec
    from medscore.nets.monai_unet import MonaiUNet, MonaiUNetSpec
    from medscore.nets.ncsn import NCSN, NCSNSpec
    from medscore.nets.ncsnpp import NCSNPP, NCSNPPSpec
    from medscore.nets.ncsnv2 import NCSNv2, NCSNv2Spec
    from medscore.nets.refinenet import RefineNet, RefineNetSpec
    from medscore.nets.spec import NetworkSpec
    from medscore.nets.unet import UNet, UNetSpec

__all__ = [
    "NCSN",
    "NCSNPP",
    "DiffusersUNet",
    "DiffusersUNetSpec",
    "MonaiUNet",
    "MonaiUNetSpec",
    "NCSNPPSpec",
    "NCSNSpec",
    "NCSNv2",
    "NCSNv2Spec",
    "NetworkSpec",
    "RefineNet",
    "RefineNetSpec",
    "UNet",
    "UNetSpec",
]

_MODULES = {
    "diffusers_unet": ("DiffusersUNet", "DiffusersUNetSpec"),
    "monai_unet": ("MonaiUNet", "MonaiUNetSpec"),
    "ncsn": ("NCSN", "NCSNSpec"),
    "ncsnpp": ("NCSNPP", "NCSNPPSpec"),
    "ncsnv2": ("NCSNv2", "NCSNv2Spec"),
    "refinenet": ("RefineNet", "RefineNetSpec"),
    "spec": ("NetworkSpec",),
    "unet": ("UNet", "UNetSpec"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
