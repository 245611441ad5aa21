"""Reconstruct with a prior of your own: a class with an SDE, a domain and ``denoise``."""

import pydicom.data
import torch

import medscore as ms
from medscore.sdes import VP


class WhiteGaussian(ms.Prior):
    """Pixels are independent, of mean 0.4 and standard deviation 0.3 in the range 0 to 1."""

    sde = VP()
    domain = ms.ImageDomain(modality="CT", quantity="HU", low=-1000, high=1500)

    def denoise(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha, sigma = (f(t)[:, None, None, None] for f in (self.sde.alpha, self.sde.sigma))
        return 0.4 + alpha * 0.09 / (alpha**2 * 0.09 + sigma**2) * (x - alpha * 0.4)


image = ms.load_image(pydicom.data.get_testdata_file("693_J2KI.dcm"), size=64)
scan = ms.simulate(image, "sparse-ct", views=60)
print(ms.quality(ms.reconstruct(scan, WhiteGaussian(), steps=20), image))
