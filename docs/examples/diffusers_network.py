"""Use a UNet2DModel of diffusers as the prior, on the 1000 steps of DDPM."""

import pydicom.data
from diffusers import UNet2DModel

import medscore as ms
from medscore.priors.preconditioning import Level, clean
from medscore.sdes import DDPM

network = UNet2DModel(  # UNet2DModel.from_pretrained("folder") loads a trained one
    sample_size=64, in_channels=1, out_channels=1, block_out_channels=(32, 32),
    down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
)  # fmt: skip
domain = ms.ImageDomain(modality="CT", quantity="HU", low=-1000, high=1500)
prior = ms.NetworkPrior(  # clean: it predicts x_0; noise would be for "epsilon"
    network.eval(), DDPM(1000), domain, preconditioning=clean, condition=Level(1000)
)
image = ms.load_image(pydicom.data.get_testdata_file("693_J2KI.dcm"), size=64)
scan = ms.simulate(image, "sparse-ct", views=45)
print(ms.quality(ms.reconstruct(scan, prior, steps=5), image))
