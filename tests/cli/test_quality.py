"""``medscore quality``: distances from real images, and copies of training images."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import network_of_features

from medscore.generation.comparison import compare_images, training_neighbours
from medscore.generation.quality import frechet, mmd
from medscore.io.opening import file_sha256

Done = Callable[..., Any]
Refused = Callable[..., str]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of 40 real, 60 training and 30 sampled images; the first sample is a copy."""
    folder, rng = tmp_path_factory.mktemp("features"), np.random.default_rng(0)
    real, training, samples = (rng.normal(size=(n, 5)).astype(np.float32) for n in (40, 60, 30))
    samples[0] = training[17]
    for name, values in (("real", real), ("training", training), ("samples", samples + 0)):
        np.save(folder / f"{name}.npy", values)
    np.save(folder / "far.npy", samples + 3)
    return folder


def run(done: Done, sets: Path, tmp_path: Path, *options: object, of: str = "samples") -> Any:
    args = ["quality", sets / f"{of}.npy", sets / "real.npy", "--features", *options]
    done(*args, "-o", tmp_path / f"{of}.json")
    return json.loads((tmp_path / f"{of}.json").read_text())


def test_features_are_compared_in_equal_numbers(done: Done, sets: Path, tmp_path: Path) -> None:
    found = run(done, sets, tmp_path, "--training", sets / "training.npy")
    assert found["compared"] == 30
    real = torch.from_numpy(np.load(sets / "real.npy"))
    chosen = real[np.linspace(0, 39, 30).round().astype(int)]
    samples = torch.from_numpy(np.load(sets / "samples.npy"))
    assert found["samples"]["mmd"] == pytest.approx(mmd(samples, chosen))
    assert found["samples"]["frechet"] == pytest.approx(frechet(samples, chosen))
    assert set(found["training"]) == set(found["samples"])


def test_the_library_returns_what_the_command_writes(
    done: Done, sets: Path, tmp_path: Path
) -> None:
    written = run(done, sets, tmp_path, "--training", sets / "training.npy")
    files = {name: str(sets / f"{name}.npy") for name in ("samples", "real", "training")}
    found = compare_images(**files, features=True)
    assert json.loads(json.dumps(found.record)) == written


def test_the_copy_is_found(done: Done, sets: Path, tmp_path: Path) -> None:
    options = ("--training", sets / "training.npy")
    its = run(done, sets, tmp_path, *options)["nearest"]
    assert its["image"][0] == f"{file_sha256(sets / 'training.npy')[:12]}#17"
    assert its["distance"][0] == its["closest"] == 0
    assert 0.5 < its["samples"] / its["real"] < 2


def test_samples_of_something_else_are_far(done: Done, sets: Path, tmp_path: Path) -> None:
    near = run(done, sets, tmp_path)["samples"]
    far = run(done, sets, tmp_path, of="far")["samples"]
    for name in ("sliced_wasserstein", "mmd", "frechet"):
        assert far[name] > 2 * near[name]
    assert far["precision"] < near["precision"]


def test_images_are_compared_by_pixels_and_by_a_network(
    medscore: Done, done: Done, pictures: Path, colour_prior: Path, tmp_path: Path
) -> None:
    done("generate", "--prior", colour_prior, "-n", 5, "--steps", 2, "-o", tmp_path / "out")
    network_of_features(tmp_path / "net.pt")
    args = ["quality", tmp_path / "out", pictures, "--prior", colour_prior]
    assert "precision" in done(*args, "-o", tmp_path / "pixels.json").out
    named = [*args, "--inception", tmp_path / "net.pt"]
    untrusted = medscore(*named, "-o", tmp_path / "network.json")
    assert untrusted.code == 2
    assert "set --trust" in untrusted.err
    assert not (tmp_path / "network.json").exists()
    done(*named, "--trust", "-o", tmp_path / "network.json")
    pixels, network = (json.loads((tmp_path / f"{name}.json").read_text())
                       for name in ("pixels", "network"))  # fmt: skip
    assert (pixels["of"], network["of"]) == ("pixels", "features")
    assert pixels["compared"] == network["compared"] == 5
    assert pixels["samples"]["frechet"] != network["samples"]["frechet"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--limit", 3), "give more than 3"),
        (("--limit", 0), "--limit is 0"),
        (("--training", "FLAT"), "cannot be read as features"),
        (("--training", "OTHER"), "6 features of an image"),
        (("--inception", "x.pt"), "--inception beside --features"),
        (("--trust",), "--trust without --inception"),
        (("-o", "OTHER"), "exists already"),
        (("-o", "nowhere/x.json"), "its folder does not exist"),
        (("--training", "TEXT"), "cannot be read as features"),
        (("--training", "NONE"), "cannot be read as features"),
    ],
    ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v)),
)
def test_refuses(refused: Refused, sets: Path, options: tuple[object, ...], why: str) -> None:
    np.save(sets / "flat.npy", np.zeros(3))
    np.save(sets / "other.npy", np.zeros((9, 6)))
    np.save(sets / "text.npy", np.full((9, 5), "1"))
    np.save(sets / "none.npy", np.zeros((9, 0)))
    names = {name: sets / f"{name.lower()}.npy" for name in ("FLAT", "OTHER", "TEXT", "NONE")}
    words = [names.get(str(option), option) for option in options]
    args = ["quality", sets / "samples.npy", sets / "real.npy", "--features"]
    assert why in " ".join(refused(*args, *words).split())


def test_real_images_that_are_alike_are_refused(refused: Refused, sets: Path) -> None:
    np.save(sets / "alike.npy", np.ones((9, 5)))
    assert "alike" in refused("quality", sets / "samples.npy", sets / "alike.npy", "--features")


def test_copies_are_looked_for_among_equally_many(sets: Path) -> None:
    """Larger sets come closer to training images by chance, so sets of equal size are compared."""
    generator = torch.Generator().manual_seed(0)
    few, many, training = (torch.randn(n, 4, generator=generator) for n in (30, 600, 600))
    names = [str(i) for i in range(600)]
    both = [
        training_neighbours({"samples": a, "real": b, "training": training}, names)
        for a, b in ((few, many), (many, few))
    ]
    assert all(0.3 < (its.closest or 0) < 3 for its in both)
    assert [len(its.distance) for its in both] == [30, 600]
    seen = training_neighbours({"samples": few, "real": training[:40], "training": training}, names)
    assert seen.closest is None
