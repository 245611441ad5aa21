"""Priors of any images: from a recipe and PNG files or arrays to generated images."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from medscore.datasets.collections.pictures import load_pictures
from medscore.errors import MedscoreError
from medscore.priors.checkpoint import read_checkpoint

Command = Callable[..., Any]
Recipe = dict[str, Any]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of 20 x 16 pixels in two folders, and the same as an array."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 16, 20, 3), dtype=np.uint8)
    for i, image in enumerate(images):
        (folder / f"class{i % 2}").mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / f"class{i % 2}" / f"{i}.png")
    np.savez(folder / "all.npz", image=images, label=np.array([f"class{i % 2}" for i in range(8)]))
    np.save(folder / "grey.npy", images[..., 0].astype(np.float32) / 16)
    return folder


@pytest.fixture
def recipe() -> Recipe:
    return {
        "name": "tiny-pictures", "pictures": ["*/*.png"], "size": 8, "licence": "CC0",
        "mirror": True, "sde": {"kind": "vp"},
        "network": {"kind": "unet", "channels": [8, 8], "blocks": 1, "fold": 1, "groups": 8},
        "plan": {"steps": 3, "batch": 2, "learning_rate": 1e-3, "warmup": 1, "save_every": 1,
                 "sample_every": 3},
    }  # fmt: skip


@pytest.fixture
def train(medscore: Command, recipe: Recipe, data: Path, tmp_path: Path) -> Command:
    """Train into a folder beside the recipe."""

    def call(name: str = "run") -> Any:
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        args = [tmp_path / "recipe.yaml", "--data", data, "-o", tmp_path / name]
        return medscore("train", *args)

    return call


@pytest.mark.slow
@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_a_prior_of_pictures_is_trained_and_generates(
    train: Command, medscore: Command, recipe: Recipe, tmp_path: Path, colour: bool
) -> None:
    recipe["colour"] = colour
    recipe["network"]["image_channels"] = 3 if colour else 1
    assert train().code == 0
    prior = tmp_path / "run" / "tiny-pictures.safetensors"
    contract = read_checkpoint(prior).contract
    assert contract.quantity == ("colour" if colour else "grey")
    assert contract.provenance.slices == 8
    assert len(list((tmp_path / "run" / "samples").iterdir())) == 1
    args = ["--prior", prior, "-n", 3, "--steps", 2, "-o", tmp_path / "out"]
    assert medscore("generate", *args).code == 0
    with np.load(tmp_path / "out" / "samples.npz", allow_pickle=False) as archive:
        assert archive["image"].shape == ((3, 8, 8, 3) if colour else (3, 8, 8))
    with Image.open(tmp_path / "out" / "images" / "00000.png") as image:
        assert image.mode == ("RGB" if colour else "L")


@pytest.mark.slow
def test_a_classifier_is_trained_and_guides(
    train: Command, medscore: Command, recipe: Recipe, data: Path, tmp_path: Path
) -> None:
    assert train().code == 0
    prior = tmp_path / "run" / "tiny-pictures.safetensors"
    pictures = {key: recipe[key] for key in ("pictures", "size", "licence")}
    plan = {"steps": 3, "batch": 4, "learning_rate": 1e-3, "warmup": 1, "validate_every": 2}
    recipe.clear()
    recipe.update(pictures, name="classes", classifies=str(prior), plan=plan,
                  validation=["class0/*.png"], classifier={"channels": [8]})  # fmt: skip
    assert train("classifier").code == 0
    classifier = tmp_path / "classifier" / "classes.safetensors"
    args = ["generate", "--prior", prior, "-n", 4, "--steps", 3]
    guided = [*args, "--classifier", classifier]
    part = ["--known", data / "class0" / "0.png", "--conditioner", "ddnm"]
    images = {}
    for name, options in (
        ("free", args), ("off", [*guided, "--label", "class1", "--strength", 0]),
        ("one", [*guided, "--label", "class1", "--strength", 50]),
        ("turns", [*guided, "--label", "class0,class1", "--strength", 50]),
        ("part", [*args, *part]),
        ("part-off", [*guided, *part, "--label", "class1", "--strength", 0]),
        ("part-of-one", [*guided, *part, "--label", "class1", "--strength", 50]),
    ):  # fmt: skip
        result = medscore(*options, "-o", tmp_path / name)
        assert result.code == 0, result.err
        with np.load(tmp_path / name / "samples.npz", allow_pickle=False) as archive:
            images[name] = archive["image"]
    said = json.loads((tmp_path / "one" / "provenance.json").read_text())
    assert said["precision"] == {"used": "float32", "source": "classifier"}
    assert np.allclose(images["free"], images["off"], atol=1e-5)
    assert not np.allclose(images["free"], images["one"], atol=1e-4)
    assert np.allclose(images["turns"][1::2], images["one"][1::2], atol=1e-5)
    assert not np.allclose(images["turns"][::2], images["one"][::2], atol=1e-4)
    assert np.allclose(images["part"], images["part-off"], atol=1e-5)
    differ = images["part"] != images["part-of-one"]
    assert differ[:, 2:6, 2:6].any()
    differ[:, 2:6, 2:6] = False
    assert not differ.any()  # in the known part
    for options, why in (
        ([*guided, "--label", "class2"], "use one of: class0, class1"),
        (guided, "go together"),
        ([*args, "--label", "class1"], "go together"),
        ([*args, "--prior", "ct-128", "--classifier", classifier, "--label", "class1"],
         "train one with `classifies`"),
    ):  # fmt: skip
        result = medscore(*options, "-o", tmp_path / "not")
        assert result.code == 2
        assert why in " ".join(result.err.split())
    recipe["validation"] = ["all.npz"]
    recipe["pictures"] = ["class0/*.png"]
    result = train("single")
    assert result.code == 2
    assert "the same label 'class0'" in " ".join(result.err.split())


def test_constant_images_are_refused(train: Command, recipe: Recipe, data: Path) -> None:
    np.save(data / "black.npy", np.zeros((4, 8, 8), dtype=np.uint8))
    recipe["pictures"] = ["black.npy"]
    result = train()
    assert result.code == 2
    assert "all training images are constant (zero variance)" in result.err


def test_the_same_command_resumes(train: Command, recipe: Recipe, tmp_path: Path) -> None:
    recipe["validation"] = ["class0/*.png"]
    recipe["plan"]["validate_every"] = 2
    assert train().code == 0
    first = read_checkpoint(tmp_path / "run" / "tiny-pictures.safetensors").sha256
    assert train().code == 0
    assert read_checkpoint(tmp_path / "run" / "tiny-pictures.safetensors").sha256 == first


def test_files_and_arrays_give_the_same_pictures_and_labels(data: Path) -> None:
    for colour in (False, True):
        files = load_pictures(["*/*.png"], root=data, size=16, colour=colour)
        array = load_pictures(["all.npz"], root=data, size=16, colour=colour)
        order = [0, 2, 4, 6, 1, 3, 5, 7]
        assert (
            files.labels
            == tuple(array.labels[i] for i in order)
            == ("class0",) * 4 + ("class1",) * 4
        )
        assert np.allclose(files.images, array.images[order], atol=0 if colour else 2 / 255)


def test_pictures_are_cut_to_squares_and_reduced(data: Path) -> None:
    whole = load_pictures(["all.npz"], root=data, size=16, colour=True).images
    with np.load(data / "all.npz", allow_pickle=False) as archive:
        expected = archive["image"][:, :, 2:18].transpose(0, 3, 1, 2) / 255
    assert np.allclose(whole, expected, atol=1e-6)
    half = load_pictures(["all.npz"], root=data, size=8, colour=True).images
    assert np.allclose(half, expected.reshape(8, 3, 8, 2, 8, 2).mean((3, 5)), atol=1e-6)


def test_white_is_what_the_recipe_says(data: Path) -> None:
    found = load_pictures(["grey.npy"], root=data, size=16, colour=False, white=16.0)
    with np.load(data / "all.npz", allow_pickle=False) as archive:
        expected = archive["image"][:, :, 2:18, 0] / 256
    assert np.allclose(found.images[:, 0], expected, atol=1e-6)
    with pytest.raises(MedscoreError, match="set `white`, the value that becomes 1"):
        load_pictures(["grey.npy"], root=data, size=16, colour=False)


@pytest.mark.parametrize(
    ("pattern", "size", "why"),
    [("*.gif", 8, "no image matches"), ("all.npz", 17, "do not reduce to 17x17")],
    ids=["nothing", "small"],
)
def test_other_files_are_refused(data: Path, pattern: str, size: int, why: str) -> None:
    with pytest.raises(MedscoreError, match=why):
        load_pictures([pattern], root=data, size=size, colour=False)


@pytest.mark.parametrize(
    "content", [b"", b"nothing", {"image": np.zeros(3)}, {"image": np.full((1, 8, 8), np.nan)},
                {"image": np.zeros((2, 8, 8)), "label": np.array(["a"])},
                {"image": np.full((2, 8, 8), "1")}, {"image": np.zeros((2, 8, 8), complex)}],
    ids=["empty", "text", "flat", "nan", "labels", "strings", "complex"],
)  # fmt: skip
def test_broken_files_are_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / ("x.png" if isinstance(content, bytes) else "x.npz")
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, **content)
    with pytest.raises(MedscoreError, match=path.name):
        load_pictures([path.name], root=tmp_path, size=8, colour=False)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("colour", True, "image_channels is 1"),
        ("size", 9, "size"),
        ("pictures", ["*.nothing"], "no image matches"),
        ("bits", 0, "bits"),
        ("magic", 1, "magic"),
    ],
)
def test_refuses_a_recipe_with(
    train: Command, recipe: Recipe, key: str, value: object, why: str
) -> None:
    recipe[key] = value
    result = train()
    assert result.code == 2
    assert why in " ".join(result.err.split())


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_grey_files_of_16_bits_keep_them(tmp_path: Path, ending: str, colour: bool) -> None:
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    Image.fromarray(ramp).save(tmp_path / f"ramp.{ending}")
    found = load_pictures([f"ramp.{ending}"], root=tmp_path, size=16, colour=colour).images
    assert np.allclose(found[0].numpy(), ramp / 65535, atol=1e-6)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_files_of_32_bits_are_refused(tmp_path: Path, kind: type) -> None:
    Image.fromarray(np.zeros((16, 16), dtype=kind)).save(tmp_path / "deep.tif")
    with pytest.raises(MedscoreError, match=r"deep\.tif.*32 bits"):
        load_pictures(["deep.tif"], root=tmp_path, size=16, colour=False)
