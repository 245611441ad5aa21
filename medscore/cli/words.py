"""Names and defaults that option helps show, without the libraries that define them.

The command line shows its help within a second, so it does not import PyTorch for it. A test
compares these words with the tables that they repeat.
"""

from __future__ import annotations

TASKS = (
    "sparse-ct", "limited-angle", "cone-ct", "mar", "sparse-mar", "mri", "mri-multicoil",
    "inpaint", "sr", "deblur",
)  # fmt: skip
"""Tasks of ``simulate`` (:data:`medscore.measurements.tasks.TASKS`)."""

SCAN = {
    "views": 23, "arc": 120.0, "source_distance": 1000.0,
    "acceleration": 4.0, "mask": "equispaced", "coils": 8, "factor": 2,
    "blur": 2.0, "hidden": 0.25, "trajectory": "cartesian", "phase": "none", "maps": "known",
}  # fmt: skip
"""Defaults of simulated scans (:class:`medscore.measurements.choices.Choices`)."""

ACCEPTED = ("localizer", "phase", "projection", "map", "mosaic", "capture", "derived")
"""Kinds of images for ``accept`` (:data:`medscore.datasets.dicom.kinds.KINDS`)."""

MASKS = ("equispaced", "random", "variable-density", "variable-density-2d")
"""Sampling patterns of k-space (:data:`medscore.measurements.kspace_mask.SHAPES`)."""

TRAJECTORIES = ("cartesian", "radial", "spiral")
"""Trajectories of simulated MR scans (:data:`medscore.measurements.trajectory.TRAJECTORIES`)."""

MAPS = ("low-resolution", "espirit")
"""Estimators of coil sensitivities (:data:`medscore.measurements.coil_maps.MAPS`)."""

PHASES = ("none", "random")
"""Phases of simulated MR images (:data:`medscore.measurements.mr_scan.PHASES`)."""

TARGETS = ("rss", "mvue", "magnitude")
"""Images of fully sampled k-space (:data:`medscore.measurements.from_kspace.TARGETS`)."""

METAL_HU = 2500.0
"""Threshold for metal (:data:`medscore.operators.ct.metal.METAL_HU`)."""

OBSERVED = ("inpaint", "sr", "colorize")
"""Observations for ``generate`` (:data:`medscore.generation.observations.TASKS`)."""
