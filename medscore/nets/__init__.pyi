"""Types of the public names of this package, which are imported when first used."""

from .diffusers_unet import DiffusersUNet as DiffusersUNet, DiffusersUNetSpec as DiffusersUNetSpec
from .local_unet import LocalUNet as LocalUNet, LocalUNetSpec as LocalUNetSpec
from .monai_unet import MonaiUNet as MonaiUNet, MonaiUNetSpec as MonaiUNetSpec
from .ncsn import NCSN as NCSN, NCSNSpec as NCSNSpec
from .ncsnpp import NCSNPP as NCSNPP, NCSNPPSpec as NCSNPPSpec
from .ncsnv2 import NCSNv2 as NCSNv2, NCSNv2Spec as NCSNv2Spec
from .refinenet import RefineNet as RefineNet
from .refinenet_spec import RefineNetSpec as RefineNetSpec
from .spec import NetworkSpec as NetworkSpec
from .unet import UNet as UNet, UNetSpec as UNetSpec
