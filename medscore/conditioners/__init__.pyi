"""Types of the public names of this package, which are imported when first used."""

from .base import Conditioner as Conditioner
from .binding import bind as bind
from .daps import DAPS as DAPS
from .ddnm import DDNM as DDNM
from .ddrm import DDRM as DDRM
from .dds import DDS as DDS
from .diffpir import DiffPIR as DiffPIR
from .discrepancy import Discrepancy as Discrepancy
from .dps import DPS as DPS
from .guidance import ClassifierGuidance as ClassifierGuidance, EnergyGuidance as EnergyGuidance
from .jalal import Jalal as Jalal, JalalNormalised as JalalNormalised
from .mcg import MCG as MCG
from .moment_matching import MomentMatching as MomentMatching
from .pigdm import PiGDM as PiGDM
from .proximal import Proximal as Proximal
from .red_diff import REDDiff as REDDiff
from .replacement import Replacement as Replacement
from .score_sde import ScoreSDE as ScoreSDE
from .volume_tv import VolumeTV as VolumeTV
