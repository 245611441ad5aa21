"""The output folder of a denoised image, which is written completely or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import medscore
from medscore.datasets.nifti import write_nifti
from medscore.datasets.volume import Volume
from medscore.engine.items import state_path
from medscore.io.files import atomic_folder, check_absent
from medscore.io.json_files import write_json
from medscore.priors.network import NetworkPrior
from medscore.reconstruction.denoising import Denoised, OnPart, denoise
from medscore.reconstruction.noise_level import ESTIMATED
from medscore.reconstruction.preview import default_window, picture
from medscore.reconstruction.saving import check_window

SHOWN = 4
"""Largest number of eigenvectors in the picture."""


def denoise_file(
    image: Volume | str | Path,
    folder: str | Path,
    prior: NetworkPrior | str | Path | None = None,
    *,
    noise_std: float | str = ESTIMATED,
    probes: int = 16,
    eigenvectors: int = 3,
    seed: int = 0,
    contrast: str | None = None,
    device: str = "cpu",
    allow_mismatch: bool = False,
    window: tuple[float, float] | None = None,
    on_part: OnPart = lambda done, count, what: None,
) -> Denoised:
    """Denoise an image into a new folder; an interrupted call resumes when it is repeated.

    The folder contains mean.nii.gz, std.nii.gz, eigenvectors.nii.gz (4-D) with eigenvalues.json,
    denoised.png and provenance.json.

    Args:
        image: as for :func:`~medscore.reconstruction.denoising.denoise`.
        folder: folder to create.
        prior: as there.
        noise_std: as there.
        probes: as there.
        eigenvectors: as there.
        seed: as there.
        contrast: as there.
        device: as there.
        allow_mismatch: as there.
        window: values that denoised.png shows black and white; by default by modality.
        on_part: as there.

    Raises:
        MedscoreError: as there, or the folder exists.
    """
    target = Path(folder)
    state = state_path(target)
    check_window(window)
    check_absent(target, (state,))
    with atomic_folder(target, (state,)) as unfinished:
        result = denoise(
            image, prior, noise_std=noise_std, probes=probes, eigenvectors=eigenvectors, seed=seed,
            contrast=contrast, device=device, allow_mismatch=allow_mismatch, state=state,
            on_part=on_part,
        )  # fmt: skip
        write_denoised(result, unfinished, window=window)
    return result


def write_denoised(
    result: Denoised, folder: Path, *, window: tuple[float, float] | None = None
) -> None:
    """Write a denoised image into an existing folder.

    Args:
        result: the denoised image.
        folder: folder to write into.
        window: values that denoised.png shows black and white; by default by modality.
    """
    affine, axes = result.noisy.affine, result.noisy.source.axes
    write_nifti(folder / "mean.nii.gz", result.mean, affine, axes)
    write_nifti(folder / "std.nii.gz", result.std, affine, axes)
    if result.eigenvectors.shape[1]:
        stack = np.moveaxis(result.eigenvectors, 1, -1)
        write_nifti(folder / "eigenvectors.nii.gz", np.ascontiguousarray(stack), affine, axes)
        unit = f"{result.unit}^2" if result.unit else "square of the image's unit"
        rows = result.eigenvalues.tolist()
        write_json(folder / "eigenvalues.json", {"unit": unit, "slices": rows})
    denoised_picture(result, window).save(folder / "denoised.png")
    versions = {"medscore": medscore.__version__, "torch": torch.__version__}
    levels = {"noise_std_on_the_grid": result.noise_std, "unit": result.unit}
    write_json(folder / "provenance.json", {**versions, **result.record, **levels})


def denoised_picture(result: Denoised, window: tuple[float, float] | None = None) -> Image.Image:
    """Up to four slices: the image, its mean, the standard deviation, and leading eigenvectors.

    Eigenvectors are grey at zero, and black or white at their largest magnitude.

    Args:
        result: the denoised image.
        window: values shown black and white; by default by modality.
    """
    low, high = window or default_window(result.noisy.modality, result.mean)
    columns: dict[str, NDArray[np.floating]] = {"image": result.noisy.values, "mean": result.mean}
    for k in range(min(SHOWN, result.eigenvectors.shape[1])):
        vectors = result.eigenvectors[:, k]
        peak = np.abs(vectors).max((1, 2), keepdims=True)
        columns[f"eigenvector {k + 1}"] = (low + high) / 2 + (high - low) / 2 * vectors / peak
    spacing = result.noisy.spacing[0]
    return picture(columns, (low, high), spacing, spread=result.std, unit=result.unit)
