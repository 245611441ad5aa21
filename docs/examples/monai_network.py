"""Use a DiffusionModelUNet of MONAI as the prior, on the 1000 steps of DDPM."""

import pydicom.data
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet

import medscore as ms
from medscore.priors.preconditioning import Level, clean
from medscore.sdes import DDPM

network = DiffusionModelUNet(  # load_state_dict(...) makes it a trained one
    spatial_dims=2, in_channels=1, out_channels=1, channels=(32, 32),
    attention_levels=(False, False), num_res_blocks=1, num_head_channels=8,
)  # fmt: skip
domain = ms.ImageDomain(modality="CT", quantity="HU", low=-1000, high=1500)
prior = ms.NetworkPrior(  # clean: it predicts x_0; noise would be for "epsilon"
    network.eval(), DDPM(1000), domain, preconditioning=clean, condition=Level(1000)
)
image = ms.load_image(pydicom.data.get_testdata_file("693_J2KI.dcm"), size=64)
scan = ms.simulate(image, "sparse-ct", views=45)
print(ms.quality(ms.reconstruct(scan, prior, steps=5), image))
