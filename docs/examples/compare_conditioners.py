"""Compare two conditioners on the same measurement, and plot them side by side."""

import matplotlib.pyplot as plt
import pydicom.data

import medscore as ms
from medscore.conditioners import DPS, DiffPIR

image = ms.load_image(pydicom.data.get_testdata_file("693_J2KI.dcm"), size=128)
scan = ms.simulate(image, "sparse-ct", views=23)
rules = {"DiffPIR": DiffPIR.with_settings(zeta=0.5), "DPS": DPS.with_settings(zeta=0.3)}
figure, axes = plt.subplots(1, len(rules))
for axis, (name, rule) in zip(axes, rules.items(), strict=True):
    result = ms.reconstruct(scan, conditioner=rule, steps=20)
    axis.imshow(result.mean[0], cmap="gray", vmin=-160, vmax=240)
    axis.set_title(f"{name}: {ms.quality(result, image).psnr:.1f} dB")
figure.savefig("conditioners.png")
