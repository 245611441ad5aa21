r"""Volumes with a second phase encoding: a Fourier transform along it gives slices.

Where all partitions are sampled alike, the transform along kz,

.. math:: s_z(k_y, k_x) = \frac1{\sqrt N} \sum_{k_z} e^{2 \pi i k_z z / N}\, s(k_z, k_y, k_x),

separates the volume into slices, exactly and without change of the noise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medscore.errors import MedscoreError


def in_slices(
    kspace: NDArray[np.complex64], sampled: NDArray[np.bool_], partitions: int, where: Path
) -> tuple[NDArray[np.complex64], NDArray[np.bool_]]:
    """Transform the partitions of each slab into slices.

    Args:
        kspace: (slabs * partitions, coils, ky, kx), centred along the partitions.
        sampled: mask of the measured samples, (slabs * partitions, ky, kx).
        partitions: number of partitions of a slab.
        where: file to name in the error.

    Returns:
        k-space of the slices and the mask of its samples, of the same shapes.

    Raises:
        MedscoreError: the partitions are not sampled alike.
    """
    if partitions == 1:
        return kspace, sampled
    slabs = kspace.reshape(-1, partitions, *kspace.shape[1:])
    masks = sampled.reshape(-1, partitions, *sampled.shape[1:])
    if not bool((masks == masks[:, :1]).all()):
        fewest = masks.any(axis=(0, 2, 3)).sum()
        raise MedscoreError(
            f"the {partitions} partitions are not sampled alike"
            + (f", and {partitions - fewest} are empty" if fewest < partitions else "")
            + ": an undersampled kz needs a reconstruction in 3-D",
            where=where,
            hint="use a scan that is undersampled along one phase encoding only",
        )
    made = np.empty_like(slabs)
    for slab, out in zip(slabs, made, strict=True):
        shifted = np.fft.ifft(np.fft.ifftshift(slab, axes=0), axis=0, norm="ortho")
        out[...] = np.fft.fftshift(shifted, axes=0)
    return made.reshape(kspace.shape), np.ascontiguousarray(sampled)
