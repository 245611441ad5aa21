"""Real images from complex data: phase estimation, and coils with a magnitude prior."""

import pytest
import torch
from support import SharedNoise
from torch import Tensor

from medscore.conditioners.dds import DDS
from medscore.operators.ct.phantoms import SHEPP_LOGAN, rasterize, scaled
from medscore.operators.mri.fourier import Fourier, fft2c
from medscore.operators.mri.masks import equispaced
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.real_images import Phased, TwoChannels, estimate_phase, two_channels
from medscore.operators.mri.sensitivity import birdcage

SIDE = 32


def magnitude() -> Tensor:
    return rasterize(scaled(SHEPP_LOGAN, SIDE / 2), SIDE, 1.0).float()


def phase() -> Tensor:
    x = torch.linspace(-1, 1, SIDE)
    return torch.polar(torch.ones(SIDE, SIDE), 1.5 * x[:, None] + 0.8 * x**2)[None, None]


def test_the_phase_is_that_of_the_centre_lines() -> None:
    image = magnitude() * phase()
    mask = equispaced((SIDE, SIDE), 2.0, centre=8)
    for coils in (None, birdcage(4, SIDE, SIDE)):
        seen = image if coils is None else coils * image
        found = estimate_phase(fft2c(seen) * mask, coils)
        inside = magnitude() > 0.15
        off = torch.angle(found * phase().conj()).abs()[inside]
        assert float(off.median()) < 0.1
        torch.testing.assert_close(found.abs(), torch.ones_like(found.abs()))


def test_several_coils_need_their_maps() -> None:
    k = fft2c(birdcage(2, SIDE, SIDE) * magnitude())
    with pytest.raises(ValueError, match="2 coils: give `sensitivity`"):
        estimate_phase(k)


def test_a_known_phase_makes_complex_data_those_of_a_real_image() -> None:
    """Half of the lines of four coils determine the magnitude, which is recovered exactly."""
    mask = equispaced((SIDE, SIDE), 2.0)
    a = Phased(MulticoilFourier(birdcage(4, SIDE, SIDE), mask), phase())
    y = a.inner.forward(magnitude() * phase())
    torch.testing.assert_close(a.pinv(y, tol=1e-5).x, magnitude(), atol=2e-3, rtol=0)


def test_conditioners_take_real_images_with_complex_data() -> None:
    mask = equispaced((SIDE, SIDE), 2.0)
    wrapped = (Phased(Fourier(mask), phase()), TwoChannels(Fourier(mask)))
    for a, channels in zip(wrapped, (1, 2), strict=True):
        y = Fourier(mask).forward(magnitude() * phase())
        start = SharedNoise(0)(torch.zeros(1, channels, SIDE, SIDE))
        refined = DDS(a, y).refine(start)
        assert not refined.is_complex()
        assert float(a.residual(refined, y)) < 0.3 * float(a.residual(start, y))


def test_two_channels_are_the_parts_of_the_image() -> None:
    image = magnitude() * phase()
    assert torch.equal(
        TwoChannels(Fourier(torch.ones(SIDE, SIDE))).T(two_channels(image)), fft2c(image)
    )


def test_an_invalid_phase_is_refused() -> None:
    inner = Fourier(torch.ones(8, 8))
    with pytest.raises(ValueError, match="modulus 1"):
        Phased(inner, 2 * torch.ones(8, 8, dtype=torch.complex64))
    with pytest.raises(ValueError, match="modulus 1"):
        Phased(inner, torch.ones(8, 8))
    with pytest.raises(ValueError, match="phase has"):
        Phased(inner, torch.ones(8, 9, dtype=torch.complex64))
