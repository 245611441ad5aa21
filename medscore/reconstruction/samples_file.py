"""All posterior samples in one HDF5 file (format medscore-samples-1)::

attributes   format, modality, unit, task, seed, medscore
samples      (slices, samples, H, W) float32, a chunk for each image
mean, std    (slices, H, W) float32; std from two samples on
metal        (slices, H, W) uint8, of patients with implants: 1 in metal
affine       (4, 4), voxel (column, row, slice) to RAS mm
"""

from __future__ import annotations

import io
from pathlib import Path

import h5py

from medscore.io.files import atomic_write
from medscore.measurements.measurement import Measurement
from medscore.reconstruction.result import Reconstruction

FORMAT = "medscore-samples-1"


def write_samples(
    path: Path, r: Reconstruction, m: Measurement, *, seed: int, version: str
) -> None:
    """Write all posterior samples of a reconstruction, atomically.

    Args:
        path: file to write.
        r: the reconstruction.
        m: the measurement.
        seed: seed of the samples.
        version: version of medscore.

    Raises:
        MedscoreError: the folder cannot be written.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs.update(
            format=FORMAT,
            modality=m.modality,
            unit="HU" if m.modality == "CT" else "magnitude",
            task=m.task,
            seed=seed,
            medscore=version,
        )
        chunk = (1, 1, *r.samples.shape[2:])
        file.create_dataset("samples", data=r.samples, chunks=chunk, compression="gzip")
        file.create_dataset("mean", data=r.mean)
        if r.samples.shape[1] > 1:
            file.create_dataset("std", data=r.std)
        if m.metal_mask is not None:
            file.create_dataset("metal", data=m.metal_mask.astype("u1"), compression="gzip")
        file.create_dataset("affine", data=m.affine)
    atomic_write(path, buffer.getvalue())
