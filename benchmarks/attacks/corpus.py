"""Small valid files of every kind that a command reads, made from random numbers and phantoms."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from attacks.dicom_files import dicom_files
from attacks.measured import measured_files
from attacks.scanner_files import fastmri_file, ismrmrd_file, projection_files
from attacks.specs import MONAI, SPECS
from attacks.volumes import volume_files, zip_files
from medscore.nets.unet import UNetSpec
from medscore.priors.checkpoint import build_prior, read_checkpoint, save_prior
from medscore.priors.contract import DataContract, Provenance, VESpec

Files = dict[str, Path]
SIDE = 32
PROVENANCE = Provenance(data="none", patients=1, slices=1, steps=0, seed=0, licence="CC0")
CT = {"modality": "CT", "quantity": "HU", "low": -1000, "high": 1500, "size": SIDE}
MR = {"modality": "MR", "quantity": "magnitude", "low": 0.0, "high": 1.0, "size": SIDE}
PICTURE = {"modality": "picture", "quantity": "colour", "low": 0, "high": 1, "size": 8}


def make(folder: Path) -> Files:
    """Write all files that need no command to make them.

    Args:
        folder: an empty folder to write in.

    Returns:
        The files by name.
    """
    rng = np.random.default_rng(0)
    files: Files = {}
    for part in (_images, _pictures, _arrays, _priors, _specs, _foreign):
        files |= part(folder, rng)
    files |= dicom_files(folder)
    files |= volume_files(folder, phantom()) | zip_files(folder, files["series"])
    files |= {"fastmri.h5": fastmri_file(folder), "ismrmrd.h5": ismrmrd_file(folder)}
    return files | projection_files(folder) | measured_files(folder)


def phantom() -> NDArray[np.float32]:
    """Two slices (2, 32, 32) in HU: a water disc that contains bone and air."""
    y, x = np.mgrid[-15.5:16, -15.5:16]
    hu = np.where(np.hypot(x, y) < 13, 0.0, -1000.0)
    hu[np.hypot(x - 5, y + 2) < 3] = 800
    return np.stack([hu, np.where(np.hypot(x, y - 4) < 3, 300, hu)]).astype(np.float32)


def _images(folder: Path, rng: np.random.Generator) -> Files:
    """NIfTI files: float CT, integer MR with a scale, a 4-D one, and NIfTI-2."""
    affine = np.diag([-3.0, -3.0, 5.0, 1.0])
    hu = phantom().transpose(2, 1, 0)
    magnitude = np.abs(hu + 1000).astype(np.int16)
    scaled = nib.Nifti1Image(magnitude, affine)
    scaled.header.set_slope_inter(0.5, 1.0)
    scaled.header.set_xyzt_units("mm", "sec")
    many = nib.Nifti1Image(np.stack([hu, hu], -1), affine)
    made = {
        "ct.nii.gz": nib.Nifti1Image(hu, affine), "mr.nii": scaled, "many.nii.gz": many,
        "two.nii": nib.Nifti2Image(hu, affine),
    }  # fmt: skip
    for name, image in made.items():
        nib.save(image, folder / name)
    return {name: folder / name for name in made}


def _pictures(folder: Path, rng: np.random.Generator) -> Files:
    values = rng.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    found: Files = {}
    for suffix in ("png", "jpg", "tif", "webp", "bmp"):
        found[f"picture.{suffix}"] = folder / f"picture.{suffix}"
        Image.fromarray(values[0]).save(found[f"picture.{suffix}"])
    (folder / "pictures").mkdir()
    for i, image in enumerate(values):
        Image.fromarray(image).save(folder / "pictures" / f"{i}.png")
    Image.fromarray(np.uint8(255 * (values[1, ..., 0] > 127))).save(folder / "mask.png")
    return found | {"pictures": folder / "pictures", "mask.png": folder / "mask.png"}


def _arrays(folder: Path, rng: np.random.Generator) -> Files:
    values = rng.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    np.savez_compressed(folder / "pictures.npz", image=values, label=np.array(list("ababab")))
    np.save(folder / "pictures.npy", values)
    slices = np.concatenate([phantom(), phantom()[::-1] - 20])
    np.savez_compressed(folder / "slices.npz", hu=slices, patient=np.array(list("aabb")))
    np.save(folder / "features.npy", rng.normal(size=(12, 4)).astype(np.float32))
    kspace = np.fft.fftshift(np.fft.fft2(phantom()[:, None] + 1000, norm="ortho"), axes=(-2, -1))
    np.save(folder / "kspace.npy", kspace.astype(np.complex64))
    names = ("pictures.npz", "pictures.npy", "slices.npz", "features.npy", "kspace.npy")
    return {name: folder / name for name in names}


def _contract(**fields: Any) -> DataContract:
    channels = 3 if fields["quantity"] == "colour" else 1
    network = UNetSpec(channels=(8, 8), blocks=1, fold=2, groups=8, image_channels=channels)
    return DataContract(
        name="tiny", spacing_mm=(0.5, 6.0), data_mean=0.3, data_std=0.3, network=network,
        sde=VESpec(sigma_min=0.01, sigma_max=20.0), provenance=PROVENANCE, **fields,
    )  # fmt: skip


def _priors(folder: Path, rng: np.random.Generator) -> Files:
    """Untrained priors, and statistics of typical images."""
    torch.manual_seed(0)
    files = {}
    for name, fields in (("ct", CT), ("mr", MR), ("colour", PICTURE)):
        contract, path = _contract(**fields), folder / f"{name}.safetensors"
        save_prior(path, contract, build_prior(contract).network.state_dict())
        files[path.name] = path
    sha256 = read_checkpoint(files["ct.safetensors"]).sha256
    typical = {"prior": sha256, "mean": 1.0, "deviation": 0.1, "count": 8}
    (folder / "ct.typical.json").write_text(json.dumps(typical))
    return files | {"ct.typical.json": folder / "ct.typical.json"}


def _specs(folder: Path, rng: np.random.Generator) -> Files:
    """Every kind of YAML file, and the data folder that they refer to."""
    (folder / "data").mkdir()
    for name in ("ct.nii.gz", "slices.npz", "pictures.npz"):
        shutil.copy(folder / name, folder / "data" / name)
    files = {"data": folder / "data"}
    for name, content in SPECS.items():
        files[name] = folder / name
        files[name].write_text(yaml.safe_dump(content, sort_keys=False))
    return files


def _foreign(folder: Path, rng: np.random.Generator) -> Files:
    """Checkpoints of other libraries with their configurations, and a network of features."""
    from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet

    torch.manual_seed(0)
    network = DiffusionModelUNet(**MONAI)
    save_file(network.state_dict(), folder / "monai.safetensors")
    torch.save(network.state_dict(), folder / "monai.pt")
    (folder / "monai.json").write_text(json.dumps({"num_head_channels": 4, "norm_num_groups": 4}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Means()).save(str(folder / "features.pt"))
    names = ("monai.safetensors", "monai.pt", "monai.json", "features.pt")
    return {name: folder / name for name in names}


class Means(torch.nn.Module):
    """A network of features: mean and deviation of each channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = x.float().flatten(2)
        return torch.cat([found.mean(2), found.std(2)], 1)
