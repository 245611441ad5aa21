"""The kinds of input, each with the commands that read it and the changes that it gets."""

from __future__ import annotations

from attacks.arrays import NPY, NPZ
from attacks.base import Variant, in_folder
from attacks.database import SQLITE
from attacks.dicom import DICOM
from attacks.dicom_files import SYNTAXES
from attacks.hdf5 import FASTMRI, HDF5, ISMRMRD
from attacks.made import EVALUATE, GENERATE, LIKELIHOOD, RECON, TRAIN, TUNE
from attacks.make import Files, Make
from attacks.measured import measured_kinds
from attacks.nifti import NIFTI
from attacks.pictures import JPEG, OTHER, PNG, TIFF
from attacks.raw import BYTES
from attacks.texts import JSON, YAML
from attacks.volumes import DETACHED, MAT, VOLUME, ZIP
from attacks.weights import WEIGHTS

MEASURED = ("--device", "cpu", "-o", "out/run")
ONE = ("--steps", "1", *MEASURED)
BOUND = ("--method", "bound", "--draws", "1", *MEASURED)
CELLS = (
    *(in_folder(change, "*.json") for change in JSON),
    *(in_folder(change, "*.npz") for change in NPZ),
)
"""Changes to the finished cells of a comparison."""

CLEAN = ("--method", "clean-bound", "--draws", "1", *MEASURED)
FILL = ("--baseline", "fbp", "-o", "out/run")


def kinds(files: Files) -> dict[str, list[Variant]]:
    """The variants of every kind.

    Args:
        files: all valid files by name.
    """
    make = Make(files)
    return {
        **_images(make), **_arrays(make), **_scanners(make), **measured_kinds(make),
        **_networks(make), **_specs(make), **_states(make),
    }  # fmt: skip


def _images(make: Make) -> dict[str, list[Variant]]:
    dicom = [
        make(f"{name}.dcm", DICOM, *words, f"in/{name}.dcm", *rest,
            weight=w)
        for name in SYNTAXES
        for words, rest, w in ((("inspect",), (), 3), (("simulate",), ("-o", "out/m.h5"), 1))
    ]  # fmt: skip
    folders = [
        make("series", DICOM, "inspect", "in/series", weight=4),
        make("series", DICOM, "simulate", "in/series", "-o", "out/m.h5", weight=2),
        make("enhanced-ct.dcm", DICOM, "inspect", "in/enhanced-ct.dcm", weight=3),
        make("enhanced-mr.dcm", DICOM, "simulate", "in/enhanced-mr.dcm", "--task", "mri", "-o",
            "out/m.h5", weight=3),
        make("explicit.dcm", DICOM, "recon", "in/ct.h5", *FILL, "--keep-identity",
            "in/explicit.dcm", honest=2),
        make("explicit.dcm", DICOM, "likelihood", "in/explicit.dcm", "--prior",
            "in/ct.safetensors", *BOUND),
        make("ctpd", DICOM, "measure", "in/ctpd", "--size", "32", "--spacing", "3", "-o",
            "out/m.h5", weight=3),
        make("ctpd", DICOM, "inspect", "in/ctpd", weight=2),
    ]  # fmt: skip
    nifti = [
        make("ct.nii.gz", NIFTI, "inspect", "in/ct.nii.gz", weight=4),
        make("mr.nii", NIFTI, "inspect", "in/mr.nii", weight=3),
        make("many.nii.gz", NIFTI, "simulate", "in/many.nii.gz", "--channel", "1", "-o",
            "out/m.h5", weight=2),
        make("two.nii", NIFTI, "inspect", "in/two.nii", weight=2),
        make("ct.nii.gz", NIFTI, "simulate", "in/ct.nii.gz", "-o", "out/m.h5", weight=2),
        make("ct.nii.gz", NIFTI, "recon", "in/ct.h5", *FILL, "--reference", "in/ct.nii.gz"),
        make("mr.nii", NIFTI, "likelihood", "in/mr.nii", "--prior", "in/mr.safetensors", *BOUND),
    ]  # fmt: skip
    known = ("generate", "--prior", "in/colour.safetensors", "-n", "1", *ONE, "--known")
    pictures = [
        make(f"picture.{suffix}", change, *known, f"in/picture.{suffix}", weight=w)
        for suffix, change, w in (
            ("png", PNG, 3), ("jpg", JPEG, 2), ("tif", TIFF, 2), ("webp", OTHER, 1),
            ("bmp", OTHER, 1),
        )
    ]  # fmt: skip
    pictures += [
        make("mask.png", PNG, *known, "in/picture.png", "--mask", "in/mask.png", weight=2),
        make("picture.png", PNG, "likelihood", "in/picture.png", "--prior",
            "in/colour.safetensors", *BOUND),
    ]  # fmt: skip
    return {"dicom": dicom, "dicom-folder": folders, "nifti": nifti, "pictures": pictures,
            **_volumes(make)}  # fmt: skip


def _volumes(make: Make) -> dict[str, list[Variant]]:
    """NRRD, MetaImage, arrays that are images, and archives of DICOM files."""
    simulated = ("-o", "out/m.h5")
    found = {
        kind: [
            make(f"plain.{end}", VOLUME, "inspect", f"in/plain.{end}", weight=3),
            make(f"packed.{end}", VOLUME, "inspect", f"in/packed.{end}", weight=2),
            make(f"packed.{end}", VOLUME, "simulate", f"in/packed.{end}", *simulated),
            make(header, DETACHED, "inspect", f"in/{header}/image.{header}", weight=2,
                inside=f"image.{header}"),
        ]
        for kind, end, header in (("nrrd", "nrrd", "nhdr"), ("metaimage", "mha", "mhd"))
    }  # fmt: skip
    found["metaimage"].append(make("many.mha", VOLUME, "inspect", "in/many.mha", "--channel", "1"))
    found["arrays"] = [
        make("image.npy", NPY, "simulate", "in/image.npy", "--spacing", "3", *simulated),
        make("image.npz", NPZ, "inspect", "in/image.npz", weight=2),
        make("five.mat", MAT, "inspect", "in/five.mat", weight=2),
        make("plain.mat", MAT, "inspect", "in/plain.mat", weight=2),
        make("plain.mat", MAT, "simulate", "in/plain.mat", "--array", "hu", *simulated),
        make("seven.mat", HDF5, "inspect", "in/seven.mat", weight=2),
    ]
    found["zip"] = [
        make("series.zip", ZIP, "inspect", "in/series.zip", weight=2),
        make("series.zip", ZIP, "simulate", "in/series.zip", *simulated),
    ]
    return found


def _arrays(make: Make) -> dict[str, list[Variant]]:
    colour = ("--prior", "in/colour.safetensors")
    return {
        "npy": [
            make("kspace.npy", NPY, "measure", "in/kspace.npy", "--spacing", "3", "-o", "out/m.h5",
                weight=3),
            make("kspace.npy", NPY, "inspect", "in/kspace.npy", weight=3),
            make("features.npy", NPY, "quality", "in/features.npy", "in/features.npy",
                "--features", weight=3),
            make("pictures.npy", NPY, "likelihood", "in/pictures.npy", *colour, *BOUND, "--limit",
                "1"),
        ],
        "npz": [
            make("slices.npz", NPZ, "likelihood", "in/slices.npz", "--prior", "in/ct.safetensors",
                "--spacing-mm", "3",
                 *BOUND, "--limit", "1", weight=3),
            make("pictures.npz", NPZ, "likelihood", "in/pictures.npz", *colour, *BOUND, "--limit",
                "1", weight=3),
            make("pictures.npz", NPZ, "quality", "in/pictures.npz", "in/pictures.npy", *colour,
                weight=2),
            make("codes.npz", NPZ, "decode", "in/codes.npz", "--prior", "in/ct.safetensors",
                "--tolerance", "1",
                 "--precision", "float32", "--device", "cpu", "-o", "out/run"),
        ],
        "projections": [
            make("stack.tif", TIFF, "measure", "in/stack.tif", "--geometry", "in/geometry.yaml",
                "-o", "out/m.h5", weight=4),
            make("plain.tif", TIFF, "measure", "in/plain.tif", "--geometry", "in/geometry.yaml",
                "-o", "out/m.h5", weight=4),
            make("stack.h5", HDF5, "measure", "in/stack.h5", "--geometry", "in/angles.yaml", "-o",
                "out/m.h5", weight=4),
            make("stack.h5", HDF5, "inspect", "in/stack.h5", honest=2),
        ],
    }  # fmt: skip


def _scanners(make: Make) -> dict[str, list[Variant]]:
    measurements = [make(f"{name}.h5", HDF5, "inspect", f"in/{name}.h5", weight=3)
                    for name in ("ct", "noisy", "mri", "coils", "mar")]  # fmt: skip
    measurements += [
        make("ct.h5", HDF5, "recon", "in/ct.h5", *FILL, weight=2),
        make(
            "mri.h5",
            HDF5,
            "recon",
            "in/mri.h5",
            "--baseline",
            "zero-filled",
            "-o",
            "out/run",
            weight=2,
        ),
        make("noisy.h5", HDF5, "recon", "in/noisy.h5", "--prior", "in/ct.safetensors", *ONE),
        make("coils.h5", HDF5, "recon", "in/coils.h5", "--prior", "in/mr.safetensors", *ONE),
    ]
    return {
        "measurement": measurements,
        "fastmri": [
            make("fastmri.h5", FASTMRI, "inspect", "in/fastmri.h5", weight=3),
            make("fastmri.h5", FASTMRI, "measure", "in/fastmri.h5", "-o", "out/m.h5", weight=2),
        ],
        "ismrmrd": [
            make("ismrmrd.h5", ISMRMRD, "inspect", "in/ismrmrd.h5", weight=3),
            make("ismrmrd.h5", ISMRMRD, "measure", "in/ismrmrd.h5", "-o", "out/m.h5", weight=2),
        ],
    }


def _networks(make: Make) -> dict[str, list[Variant]]:
    classes = ("generate", "--prior", "in/colour.safetensors", "-n", "1", "--label", "a", *ONE)
    importing = (
        "--contract",
        "in/contract.yaml",
        "--config",
        "in/monai.json",
        "-o",
        "out/p.safetensors",
    )
    return {
        "prior": [
            make("ct.safetensors", WEIGHTS, "priors", "verify", "in/ct.safetensors", weight=6),
            make("ct.safetensors", WEIGHTS, "priors", "info", "in/ct.safetensors", weight=2),
            make("ct.safetensors", WEIGHTS, "recon", "in/noisy.h5", "--prior", "in/ct.safetensors",
                *ONE, weight=2),
            make("colour.safetensors", WEIGHTS, "generate", "--prior", "in/colour.safetensors",
                "-n", "1", *ONE),
            make("ct.safetensors", WEIGHTS, "likelihood", "in/ct.nii.gz", "--prior",
                "in/ct.safetensors", *BOUND),
            make("ct.typical.json", JSON, "likelihood", "in/ct.nii.gz", "--prior",
                "in/ct.safetensors", *BOUND, weight=2),
        ],
        "network": [
            make("classifier.safetensors", WEIGHTS, *classes, "--classifier",
                "in/classifier.safetensors", weight=3),
            make("dequantizer.safetensors", WEIGHTS, "likelihood", "in/ct.nii.gz", "--prior",
                "in/ct.safetensors",
                 "--dequantizer", "in/dequantizer.safetensors", *CLEAN, weight=3),
            make("monai.safetensors", WEIGHTS, "priors", "import", "in/monai.safetensors",
                *importing, weight=2),
            make("monai.pt", BYTES, "priors", "import", "in/monai.pt", *importing, weight=2),
            make("monai.json", JSON, "priors", "import", "in/monai.safetensors",
                *importing, weight=2),
        ],
    }  # fmt: skip


def _specs(make: Make) -> dict[str, list[Variant]]:
    short = ("--device", "cpu", "-o", "out/run")
    data = ("--data", "in/data")
    recipes = [
        make(f"{name}.yaml", YAML, "train", f"in/{name}.yaml", *data, "--steps", "1", *short,
            weight=w)
        for name, w in (("recipe", 4), ("pictures", 2), ("classifier", 1), ("dequantizer", 1),
            ("supervised", 2))
    ]  # fmt: skip
    return {
        "recipe": recipes,
        "evaluation": [make("evaluation.yaml", YAML, "evaluate", "in/evaluation.yaml", *data,
                "--processes", "1",
                            "--method", "FBP", "-o", "out/run", weight=3),
                       make("evaluation.yaml", YAML, *EVALUATE)],
        "tuning": [make("tuning.yaml", YAML, *TUNE, "--trials", "1")],
        "preset": [make("preset.yaml", YAML, "recon", "in/noisy.h5", "--prior",
                "in/ct.safetensors", "--preset",
                        "in/preset.yaml", *short)],
        "geometry": [
            make(f"{name}.yaml", YAML, "measure", f"in/{stack}", "--geometry", f"in/{name}.yaml",
                "-o", "out/m.h5")
            for name, stack in (("geometry", "stack.tif"), ("angles", "stack.h5"), ("fan",
                    "plain.tif"))
        ],
        "contract": [make("contract.yaml", YAML, "priors", "import", "in/monai.safetensors",
                "--contract",
                          "in/contract.yaml", "--config", "in/monai.json", "-o",
                          "out/p.safetensors")],
    }  # fmt: skip


def _states(make: Make) -> dict[str, list[Variant]]:
    state = ".run.resume"
    saved = tuple(in_folder(change, "*.safetensors") for change in WEIGHTS)
    resumed = {
        "recon": ("recon", "in/ct.h5", *RECON),
        "generate": GENERATE,
        "likelihood": LIKELIHOOD,
    }
    states = [make(state, saved, *argv, out={state: f"{name}.state"}, weight=3)
              for name, argv in resumed.items()]  # fmt: skip
    states += [
        make("run", WEIGHTS, *TRAIN, "--steps", "3", out={"run": "trained"},
            inside="state.safetensors", weight=3),
        make("run", (*JSON, *BYTES), *TRAIN, "--steps", "3", out={"run": "trained"},
            inside="loss.jsonl"),
        make("run", CELLS, *EVALUATE, out={"run": "compared"}, inside="cells", weight=2),
        make("generated", NPZ, "quality", "in/generated", "in/slices.npz", "--prior",
            "in/ct.safetensors",
             "--spacing-mm", "3", inside="samples.npz"),
    ]  # fmt: skip
    study = [make("run", SQLITE, *TUNE, "--trials", "2", out={"run": "study"}, inside="study.db")]
    return {"state": states, "study": study}
