"""Types of the public names of this package, which are imported when first used."""

from .adjoint import Adjoint as Adjoint
from .base import Baseline as Baseline, BaselineMethod as BaselineMethod
from .build import baseline as baseline
from .fbp import FBP as FBP
from .grappa import GRAPPA as GRAPPA
from .interpolation import LI as LI
from .least_squares import CGLS as CGLS, SIRT as SIRT
from .methods import BASELINES as BASELINES
from .nmar import NMAR as NMAR
from .sense import CGSense as CGSense
from .total_variation import FISTATV as FISTATV
from .wavelet import L1Wavelet as L1Wavelet
from .zero_filled import ZeroFilled as ZeroFilled
