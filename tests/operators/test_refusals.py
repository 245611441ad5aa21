"""Every constructor that is called through the Python interface refuses by a MedscoreError.

It is a ValueError too, as numerical Python code expects.
"""

from collections.abc import Callable

import pytest
import torch

from medscore.errors import MedscoreError
from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.metal import metal_trace
from medscore.operators.ct.projector import choose
from medscore.operators.ct.xray import Spectrum
from medscore.operators.images.blur import Blur, gaussian_kernel, motion_kernel
from medscore.operators.images.inpainting import Inpainting
from medscore.operators.images.super_resolution import SuperResolution
from medscore.operators.mri import masks
from medscore.operators.mri.fourier import Fourier
from medscore.operators.mri.hartley import Hartley
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.noise import ComplexGaussianNoise, GaussianNoise, PoissonNoise

NAN, INF = float("nan"), float("inf")


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def scan() -> ParallelBeam:
    return ParallelBeam(8, 1.0, 4)


REFUSED: dict[str, Callable[[], object]] = {
    "equispaced": lambda: masks.equispaced((8, 8), 0.5),
    "centre": lambda: masks.equispaced((8, 8), 2.0, centre=9),
    "random": lambda: masks.random_cartesian((8, 8), 0.0, generator()),
    "variable 1-D": lambda: masks.variable_density_1d((8, 8), 0.9, generator()),
    "variable 2-D": lambda: masks.variable_density_2d((8, 8), NAN, generator()),
    "radial": lambda: masks.radial((8, 8), 0),
    "spiral": lambda: masks.spiral((8, 8), 0.0),
    "calibration": lambda: masks.calibration_region(torch.zeros(8, 8, dtype=torch.bool)),
    "even kernel": lambda: Blur(torch.ones(2, 2), 8, 8),
    "NaN kernel": lambda: Blur(torch.full((3, 3), NAN), 8, 8),
    "blur threshold": lambda: Blur(torch.ones(3, 3), 8, 8, threshold=2.0),
    "flat Gaussian": lambda: gaussian_kernel(0.0),
    "negative Gaussian": lambda: gaussian_kernel(-1.0),
    "endless Gaussian": lambda: gaussian_kernel(INF),
    "negative motion": lambda: motion_kernel(-1.0, 0.0),
    "endless motion": lambda: motion_kernel(INF, 0.0),
    "motion without angle": lambda: motion_kernel(3.0, NAN),
    "no factor": lambda: SuperResolution(8, 8, 3),
    "factor 0": lambda: SuperResolution(8, 8, 0),
    "empty mask": lambda: Inpainting(torch.zeros(4, 4)),
    "half mask": lambda: Inpainting(torch.full((4, 4), 0.5)),
    "Gaussian noise": lambda: GaussianNoise(0.0),
    "complex noise": lambda: ComplexGaussianNoise(-1.0),
    "endless noise": lambda: GaussianNoise(INF),
    "no photons": lambda: PoissonNoise(0.0),
    "electronic noise": lambda: PoissonNoise(10.0, electronic=NAN),
    "noise of another kind": lambda: GaussianNoise(1.0)(
        torch.ones(2, dtype=torch.complex64), torch.ones(2), generator()
    ),
    "backend": lambda: choose(scan(), "cpu", None, "abacus", 2**30),
    "spectrum": lambda: Spectrum((60.0,), (0.5,)),
    "Fourier": lambda: Fourier(torch.ones(4)),
    "Hartley": lambda: Hartley(torch.ones(4)),
    "coils": lambda: MulticoilFourier(
        torch.zeros(2, 4, 4, dtype=torch.complex64), torch.ones(4, 4)
    ),
    "margin": lambda: metal_trace(torch.ones(1, 1, 8, 8), scan(), margin=-1),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_invalid_arguments_are_a_medscore_error_of_one_line(make: Callable[[], object]) -> None:
    with pytest.raises(MedscoreError) as caught:
        make()
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
