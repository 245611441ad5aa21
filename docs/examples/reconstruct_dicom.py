"""Reconstruct a DICOM slice from a simulated sparse-view scan, and judge the result."""

import pydicom.data

import medscore as ms

path = pydicom.data.get_testdata_file("693_J2KI.dcm")  # a head CT; use your own file here
image = ms.load_image(path, size=128)
scan = ms.simulate(image, "sparse-ct", views=23, noise="poisson:1e5")
result = ms.reconstruct(scan, samples=4)
print(ms.quality(result, image))
ms.save(result, "out", reference=image)
