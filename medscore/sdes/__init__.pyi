"""Types of the public names of this package, which are imported when first used."""

from .base import SDE as SDE
from .ddpm import DDPM as DDPM
from .general import GeneralSDE as GeneralSDE
from .linear import VE as VE, VP as VP, SubVP as SubVP
