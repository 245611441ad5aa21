"""The specifications of all networks, as files name them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from medscore.nets.diffusers_unet import DiffusersUNetSpec
from medscore.nets.local_unet import LocalUNetSpec
from medscore.nets.monai_unet import MonaiUNetSpec
from medscore.nets.ncsn import NCSNSpec
from medscore.nets.ncsnpp import NCSNPPSpec
from medscore.nets.ncsnv2 import NCSNv2Spec
from medscore.nets.unet import UNetSpec

Network = Annotated[
    UNetSpec
    | LocalUNetSpec
    | NCSNSpec
    | NCSNv2Spec
    | MonaiUNetSpec
    | DiffusersUNetSpec
    | NCSNPPSpec,
    Field(discriminator="kind"),
]
"""Specifications of all networks, distinguished by ``kind``."""
