"""A phantom in several coils, and the error of coil maps."""

import torch

from medscore.operators.ct.phantoms import SHEPP_LOGAN, rasterize, scaled
from medscore.operators.mri.masks import equispaced
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.sensitivity import birdcage

N, COILS = 64, 6


def scan() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """k-space of a phantom in six coils, its maps, and where there is signal."""
    image = rasterize(scaled(SHEPP_LOGAN, 30.0), N, 1.0).to(torch.complex64)
    maps = birdcage(COILS, N, N)
    operator = MulticoilFourier(maps, equispaced((N, N), 2.0, centre=20))
    return operator.forward(image), maps, image[0, 0].abs() > 0.1


def error(found: torch.Tensor, maps: torch.Tensor, where: torch.Tensor) -> float:
    """Relative error, up to the phase that all coils share in each pixel."""
    common = (found * maps.conj()).sum(0)
    aligned = found * (common.conj() / common.abs().clamp_min(1e-12))
    return float((aligned - maps)[:, where].norm() / maps[:, where].norm())
