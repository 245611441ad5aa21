"""Valid content of every kind of YAML file that a command reads, for 32 x 32 images."""

from __future__ import annotations

from typing import Any

Spec = dict[str, Any]

UNET: Spec = {"kind": "unet", "channels": [8, 8], "blocks": 1, "fold": 2, "groups": 8}
PLAN: Spec = {
    "steps": 2,
    "batch": 2,
    "learning_rate": 1e-3,
    "warmup": 1,
    "save_every": 1,
    "log_every": 1,
}
IMAGES: Spec = {
    "modality": "CT", "quantity": "HU", "low": -1000, "high": 1500, "size": 32,
    "data": ["ct.nii.gz", "*.npz"], "licence": "CC0",
}  # fmt: skip
VE: Spec = {"kind": "ve", "sigma_min": 0.01, "sigma_max": 20.0}

RECIPE: Spec = {
    **IMAGES, "name": "recipe", "data": ["ct.nii.gz", "slices.npz"],
    "augmentation": {"zoom": [0.8, 1.25]}, "sde": VE, "network": UNET,
    "objective": {"kind": "edm"}, "plan": PLAN,
}  # fmt: skip
PICTURES: Spec = {
    "name": "pictures", "pictures": ["pictures.npz"], "size": 8, "white": 255, "colour": True,
    "licence": "CC0", "sde": VE, "network": {**UNET, "image_channels": 3},
    "objective": {"kind": "edm"}, "plan": PLAN,
}  # fmt: skip
CLASSIFIER: Spec = {
    "name": "classifier", "classifies": "in/colour.safetensors", "pictures": ["pictures.npz"],
    "size": 8, "white": 255, "colour": True, "licence": "CC0", "classifier": {"channels": [8]},
    "plan": PLAN,
}  # fmt: skip
DEQUANTIZER: Spec = {
    **IMAGES, "name": "dequantizer", "data": ["ct.nii.gz"], "dequantizes": "in/ct.safetensors",
    "flow": {"bits": 8, "hidden": 8, "couplings": 1}, "plan": PLAN,
}  # fmt: skip
SUPERVISED: Spec = {
    **IMAGES, "name": "supervised", "data": ["ct.nii.gz"], "spacing_mm": 3.0,
    "scan": {"task": "sparse-ct", "views": 9},
    "model": {"kind": "post-processor", "network": UNET}, "plan": PLAN,
}  # fmt: skip
COHORT: Spec = {"modality": "CT", "data": ["ct.nii.gz"], "size": 32}
TASK: Spec = {"name": "9 views", "scan": {"task": "sparse-ct", "views": 9}}
EVALUATION: Spec = {
    "name": "evaluation", "title": "Tiny", "ours": "ours", "metric": {"convention": "ct"},
    "cohort": {**COHORT, "limit": 1}, "tasks": [TASK],
    "methods": [
        {"name": "FBP", "baseline": {"kind": "fbp"}},
        {"name": "ours", "prior": {"prior": "in/ct.safetensors", "samples": 1, "steps": 1}},
    ],
}  # fmt: skip
TUNING: Spec = {
    "name": "tuning", "trials": 2, "score": "psnr", "cohort": {**COHORT, "limit": 1}, "task": TASK,
    "method": {"name": "TV", "baseline": {"kind": "fista-tv", "weight": 1, "iterations": 2}},
    "search": {"weight": {"low": 1e-5, "high": 1.0, "log": True}},
}  # fmt: skip
PRESET: Spec = {
    "sampler": "ddim", "conditioner": "diffpir", "grid": "focused", "steps": 1,
    "set": {"conditioner.zeta": 0.3},
}  # fmt: skip
GEOMETRY: Spec = {
    "beam": "parallel", "size": 32, "spacing": 3.0, "views": 60, "detector_spacing": 3.0,
    "axes": ["slice", "view", "detector"], "values": "line-integrals", "slice_spacing": 5.0,
}  # fmt: skip
ANGLES: Spec = {
    "beam": "parallel", "size": 32, "spacing": 3.0, "angles": [3.0 * k for k in range(60)],
    "detector_spacing": 3.0, "dataset": "exchange/data",
}  # fmt: skip
FAN: Spec = {
    "beam": "fan", "size": 32, "spacing": 3.0, "views": 60, "detector_spacing": 5.0,
    "source_distance": 400.0, "detector_distance": 700.0, "detector_shape": "curved",
}  # fmt: skip
CONTRACT: Spec = {
    "name": "tiny", "modality": "CT", "quantity": "HU", "low": -1000, "high": 1000,
    "network_range": [-1, 1], "size": 8, "spacing_mm": [1.0, 2.0],
    "provenance": {"data": "random numbers", "licence": "CC0"},
    "sde": {"kind": "ddpm", "scales": 1000, "beta_min": 0.1, "beta_max": 20.0},
    "prediction": {"target": "noise", "condition": "level", "levels": 1000},
}  # fmt: skip

SPECS: dict[str, Spec] = {
    "recipe.yaml": RECIPE, "pictures.yaml": PICTURES, "classifier.yaml": CLASSIFIER,
    "dequantizer.yaml": DEQUANTIZER, "supervised.yaml": SUPERVISED, "evaluation.yaml": EVALUATION,
    "tuning.yaml": TUNING, "preset.yaml": PRESET, "geometry.yaml": GEOMETRY, "angles.yaml": ANGLES,
    "fan.yaml": FAN, "contract.yaml": CONTRACT,
}  # fmt: skip
"""The files by name."""

MONAI: Spec = {
    "spatial_dims": 2, "in_channels": 1, "out_channels": 1, "channels": (8, 16),
    "attention_levels": (False, True), "num_res_blocks": (1, 1), "norm_num_groups": 4,
    "num_head_channels": (0, 4),
}  # fmt: skip
"""Arguments of MONAI's network."""
