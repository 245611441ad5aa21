"""Operators of sigpy."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.operators.adapters import from_sigpy
from medscore.operators.mri.fourier import Fourier
from medscore.operators.mri.masks import equispaced
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.real_images import TwoChannels
from medscore.operators.mri.sensitivity import birdcage
from medscore.operators.noise import ComplexGaussianNoise

sigpy = pytest.importorskip("sigpy")


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def complex_image(batch: int = 2, size: int = 12, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.complex(
        draw(batch, 1, size, size, dtype=dtype), draw(batch, 1, size, size, seed=1, dtype=dtype)
    )


def linops() -> dict[str, Any]:
    """Linops of sigpy on 12 x 12 images; the last ones have other axes."""
    shape, rng = (12, 12), np.random.default_rng(0)
    coils = birdcage(3, 12, 12).numpy()
    fft = sigpy.linop.FFT(shape)
    return {
        "identity": sigpy.linop.Identity(shape),
        "fft": fft,
        "normal": fft.N + 2 * sigpy.linop.Identity(shape),
        "sense": sigpy.linop.FFT((3, *shape), axes=(-2, -1)) * sigpy.linop.Multiply(shape, coils),
        "wavelet": sigpy.linop.Wavelet(shape, wave_name="db4"),
        "nufft": sigpy.linop.NUFFT(shape, rng.uniform(-6, 6, (40, 2))),
        "finite differences": sigpy.linop.FiniteDifference(shape),
        "stacked": sigpy.linop.Vstack([fft, sigpy.linop.Identity(shape)], axis=0),
        "coil images": sigpy.linop.Sum((3, *shape), axes=(0,)),
    }


@pytest.mark.parametrize("name", linops())
def test_a_linop_is_applied_to_every_sample(name: str) -> None:
    linop = linops()[name]
    a = from_sigpy(linop)
    lead = () if len(linop.ishape) > 2 else (1,)
    parts = draw(2, 2, *lead, *linop.ishape)
    x = torch.complex(parts[0], parts[1])
    y = a(x)
    assert y.dtype == x.dtype == torch.complex64
    for sample, measured in zip(x, y, strict=True):
        expected = linop * sample.reshape(linop.ishape).numpy()
        np.testing.assert_allclose(measured.reshape(linop.oshape).numpy(), expected, rtol=1e-5)
        back = linop.H * np.ascontiguousarray(expected)
        found = a.adjoint(measured[None])[0].reshape(linop.ishape).numpy()
        np.testing.assert_allclose(found, back, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", linops())
def test_gradients_and_vmap_of_a_linop_are_exact(name: str) -> None:
    linop = linops()[name]
    a = from_sigpy(linop)
    lead = () if len(linop.ishape) > 2 else (1,)
    parts = draw(2, 3, 2, *lead, *linop.ishape, dtype=torch.float64)
    x = torch.complex(parts[0], parts[1])
    found = torch.func.vmap(a.forward)(x)
    torch.testing.assert_close(found, torch.stack([a(each) for each in x]))
    leaf = x[0].clone().requires_grad_()
    y = a(leaf)
    (gradient,) = torch.autograd.grad(y, leaf, y.detach())
    torch.testing.assert_close(gradient, a.adjoint(y.detach()))


def test_the_fft_and_sense_of_sigpy_are_those_of_medscore() -> None:
    mask, maps = equispaced((12, 12), 2.0), birdcage(3, 12, 12)
    x = complex_image()
    fft = from_sigpy(
        sigpy.linop.Multiply((12, 12), mask.numpy()) * sigpy.linop.FFT((12, 12)),
        noise=ComplexGaussianNoise(0.1),
    )
    own = Fourier(mask)
    torch.testing.assert_close(fft(x), own(x))
    torch.testing.assert_close(fft(x.conj()), own(x.conj()))
    torch.testing.assert_close(fft.pinv(own(x), tol=1e-6).x, own.pinv(own(x)).x)
    assert fft.noise_model == ComplexGaussianNoise(0.1)
    sense = from_sigpy(linops()["sense"])
    torch.testing.assert_close(sense(x), MulticoilFourier(maps, torch.ones(12, 12))(x))
    real = TwoChannels(sense)
    parts = torch.cat([x.real, x.imag], 1)
    torch.testing.assert_close(real.pinv(real(parts), tol=1e-5).x, parts, atol=1e-4, rtol=0)


def test_real_images_and_foreign_objects_are_refused(unchecked: None) -> None:
    with pytest.raises(ValueError, match=r"work on complex numbers, not torch.float32"):
        from_sigpy(sigpy.linop.FFT((4, 4)))(draw(1, 1, 4, 4))
    with pytest.raises(ValueError, match=r"`linop` is a ndarray, expected a sigpy.linop.Linop"):
        from_sigpy(np.eye(4))  # type: ignore[arg-type]
    with pytest.raises(MedscoreError, match="`linop` is a int"):
        from_sigpy(3)  # type: ignore[arg-type]
