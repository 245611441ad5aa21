"""Reconstruct with any network as the prior: here a denoiser D(x, sigma), as in deepinv."""

import pydicom.data
import torch

import medscore as ms
from medscore.priors.preconditioning import denoiser, ratio
from medscore.sdes import VE


class Smooth(torch.nn.Module):
    """A Wiener filter for images with a 1/f spectrum; put your network here."""

    def forward(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        frequency = torch.fft.fftfreq(x.shape[-1])
        power = 2e-4 / (frequency[:, None] ** 2 + frequency**2 + 1e-4) ** 1.5  # Wiener filter
        gain = power / (power + sigma[:, None, None, None] ** 2)
        return torch.fft.ifft2(gain * torch.fft.fft2(x)).real


image = ms.load_image(pydicom.data.get_testdata_file("693_J2KI.dcm"), size=128)
domain = ms.ImageDomain(modality="CT", quantity="HU", low=-1000, high=1500)
prior = ms.NetworkPrior(Smooth(), VE(), domain, preconditioning=denoiser, condition=ratio)
scan = ms.simulate(image, "sparse-ct", views=45)
print(ms.quality(ms.reconstruct(scan, prior, steps=20), image))
