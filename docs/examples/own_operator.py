"""Reconstruct with a measurement operator of your own: two functions are enough."""

import pydicom.data
import torch

import medscore as ms

image = ms.load_image(pydicom.data.get_testdata_file("693_J2KI.dcm"), size=128)
mask = torch.rand(128, 128, generator=torch.Generator().manual_seed(0)) < 0.3  # 30 % of the pixels
operator = ms.LinearOperator(lambda x: mask * x, lambda y: mask * y, (1, 128, 128))
x = torch.from_numpy(image.values)[:, None]
scan = ms.make_measurement(operator(x), operator, image_unit="HU", affine=image.affine)
result = ms.reconstruct(scan, "ct-128", conditioner="dds", steps=20)
print(ms.quality(result, image))
