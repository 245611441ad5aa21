"""``medscore generate``: images of a prior that depend on the seed alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medscore import generation
from medscore.cli import generate as module
from medscore.errors import MedscoreError

Done = Callable[..., Any]
Refused = Callable[..., str]
FAST = ("--steps", 3, "--device", "cpu")


@pytest.fixture(scope="module")
def drawn(done: Done, prior: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images."""
    folder = tmp_path_factory.mktemp("generated") / "out"
    done("generate", "--prior", prior, "-n", 5, *FAST, "-o", folder)
    return folder


def hu(folder: Path) -> np.ndarray:
    with np.load(folder / "samples.npz", allow_pickle=False) as archive:
        return np.asarray(archive["hu"])


def test_images_pictures_and_their_origin_are_written(drawn: Path) -> None:
    values = hu(drawn)
    assert values.shape == (5, 32, 32)
    assert values.dtype == np.float32
    assert len(list((drawn / "images").iterdir())) == 5
    with Image.open(drawn / "images" / "00002.png") as image:
        shown = np.asarray(image)
    expected = np.clip((values[2] + 1000) / 2500, 0, 1) * 255
    assert np.abs(shown - expected).max() <= 0.51
    with Image.open(drawn / "sheet.png") as whole:
        assert whole.size == (2 * (3 * 34 - 2), 2 * (2 * 34 - 2))
    said = json.loads((drawn / "provenance.json").read_text())
    assert said["prior"]["name"] == "tiny"
    assert said["nfe_per_sample"] == 4
    assert said["precision"] == {"used": "float32", "source": "MEDSCORE_PRECISION"}
    assert said["settings"]["precision"] == "float32"


def test_the_library_returns_what_the_command_writes(
    drawn: Path, prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    steps: list[int] = []
    result = generation.generate(
        str(prior), count=5, steps=3, device="cpu", on_step=lambda info: steps.append(info.done)
    )
    assert result.names == tuple(path.stem for path in sorted((drawn / "images").iterdir()))
    assert np.array_equal(result.values, hu(drawn))
    said = json.loads((drawn / "provenance.json").read_text())
    assert {**result.provenance, "seconds": said["seconds"]} == said
    assert steps == [1, 2, 3]
    assert list(tmp_path.iterdir()) == []


def test_an_image_depends_on_its_seed_alone(
    done: Done, drawn: Path, prior: Path, tmp_path: Path
) -> None:
    args = ["generate", "--prior", prior, *FAST]
    done(*args, "-n", 3, "--batch-size", 2, "-o", tmp_path / "few")
    assert np.allclose(hu(tmp_path / "few"), hu(drawn)[:3], atol=1e-2)
    done(*args, "-n", 3, "--seed", 1, "-o", tmp_path / "others")
    assert np.abs(hu(tmp_path / "others") - hu(drawn)[:3]).max() > 10


def test_an_interrupted_run_goes_on_to_the_same_images(
    done: Done, medscore: Done, drawn: Path, prior: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    args = ["generate", "--prior", prior, "-n", 5, *FAST, "--batch-size", 2, "-o", tmp_path / "out"]
    real, calls = module.sampling_bar, []

    def stopped(title: str) -> Any:
        bar = real(title)

        class Bar:
            def __enter__(self) -> Any:
                show = bar.__enter__()

                def step(info: Any) -> None:
                    calls.append(info.done)
                    if len(calls) == 5:
                        raise KeyboardInterrupt
                    show(info)

                return step

            def __exit__(self, *error: Any) -> Any:
                return bar.__exit__(*error)

        return Bar()

    monkeypatch.setattr(module, "sampling_bar", stopped)
    assert medscore(*args).code == 130
    monkeypatch.setattr(module, "sampling_bar", real)
    assert not (tmp_path / "out").exists()
    done(*args)
    assert np.allclose(hu(tmp_path / "out"), hu(drawn), atol=1e-2)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_interruption_says_how_to_resume(
    medscore: Done, prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(job: Any, on_step: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("medscore.generation.sampling.run", interrupted)
    result = medscore("generate", "--prior", prior, *FAST, "-o", tmp_path / "out")
    assert result.code == 130
    assert "repeat the same command" in " ".join(result.err.split())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("-n", 0), "--count is 0"),
        (("--steps", 0), "--steps is 0"),
        (("--sampler", "pc", "--snr", 0), "sampler pc: snr is 0"),
        (("--seed", -1), "--seed is -1"),
        (("--batch-size", 0), "--batch-size is 0"),
        (("--precision", "int4"), "--precision is 'int4'"),
        (("--sampler", "magic"), "magic"),
        (("--grid", "magic"), "magic"),
        (("--prior", "magic"), "magic"),
        (("--strength", 2), "--strength without --classifier"),
        (("--conditioner", "dps"), "apply only with --known"),
        (("--hidden", 0.2), "apply only with --known"),
    ],
    ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v)),
)
def test_refuses(
    refused: Refused, prior: Path, tmp_path: Path, options: tuple[object, ...], why: str
) -> None:
    words = refused("generate", "--prior", prior, "-o", tmp_path / "out", *FAST, *options)
    assert why in " ".join(words.split())


def test_a_run_that_diverges_leaves_nothing(
    refused: Refused, prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In particular it leaves no state, which would refuse a run with other settings."""

    def diverging(job: Any, on_step: Any) -> Any:
        Path(job.state).mkdir()
        (Path(job.state) / "0000000.safetensors").write_bytes(b"one image")
        raise MedscoreError("diverged", hint="take more steps")

    monkeypatch.setattr("medscore.generation.sampling.run", diverging)
    refused("generate", "--prior", prior, "-n", 2, *FAST, "-o", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_refuses_to_write_over_a_folder(refused: Refused, prior: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert "exists" in refused("generate", "--prior", prior, "-o", tmp_path / "out", *FAST)
