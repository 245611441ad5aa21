"""Types of the public names of this package, which are imported when first used."""

from .adapters import from_deepinv as from_deepinv, from_sigpy as from_sigpy
from .base import Operator as Operator
from .ct.cone.beam import ConeBeam as ConeBeam
from .ct.cone.geometry import ConeGeometry as ConeGeometry, VoxelGrid as VoxelGrid
from .ct.cone.helix import helical_orbit as helical_orbit
from .ct.cone.matrices import (
    from_matrices as from_matrices,
    projection_matrices as projection_matrices,
)
from .ct.cone.orbit import circular_orbit as circular_orbit
from .ct.geometry import (
    FanBeam as FanBeam,
    ParallelAngles as ParallelAngles,
    ParallelBeam as ParallelBeam,
)
from .ct.radon import Radon as Radon
from .ct.scans import (
    fan_sparse_view as fan_sparse_view,
    fan_view_list as fan_view_list,
    limited_angle as limited_angle,
    sparse_view as sparse_view,
    view_list as view_list,
)
from .images.blur import Blur as Blur
from .images.colorization import Colorization as Colorization
from .images.inpainting import Inpainting as Inpainting
from .images.super_resolution import SuperResolution as SuperResolution
from .linear import LinearOperator as LinearOperator
from .mri.fourier import Fourier as Fourier
from .mri.hartley import Hartley as Hartley
from .mri.multicoil import MulticoilFourier as MulticoilFourier
from .mri.multicoil_nufft import MulticoilNonuniform as MulticoilNonuniform
from .mri.nufft import NonuniformFourier as NonuniformFourier
from .noise import (
    ComplexGaussianNoise as ComplexGaussianNoise,
    GaussianNoise as GaussianNoise,
    Noiseless as Noiseless,
    NoiseModel as NoiseModel,
    PoissonNoise as PoissonNoise,
)
from .wrappers.padded import Padded as Padded
from .wrappers.resampled import Resampled as Resampled
from .wrappers.restricted import Restricted as Restricted
from .wrappers.stack import Stack as Stack
from .wrappers.whitened import Whitened as Whitened
