"""Reconstruct with a sampler of your own: one step of Eq. 8.5, from time t to time s."""

from dataclasses import dataclass

import pydicom.data

import medscore as ms


@dataclass(frozen=True)
class Renoise(ms.Sampler):
    """Denoise, then add the noise of the next level afresh."""

    def step(self, prior, x, t, s, noise, memory):  # type: ignore[no-untyped-def]
        return prior.sde.marginal(prior.denoise(x, t), s, noise(x)), memory


image = ms.load_image(pydicom.data.get_testdata_file("693_J2KI.dcm"), size=128)
scan = ms.simulate(image, "sparse-ct", views=23)
result = ms.reconstruct(scan, sampler=Renoise(), conditioner="dds", steps=20)
print(ms.quality(result, image))
