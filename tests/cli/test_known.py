"""``medscore generate --known``: samples that agree with the observed part of an image."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medscore.io.opening import file_sha256

Done = Callable[..., Any]
Refused = Callable[..., str]
FAST = ("--steps", 3, "-n", 2, "--device", "cpu")


def read(folder: Path) -> np.ndarray:
    """Samples (n, H, W, channel) or (n, H, W)."""
    with np.load(folder / "samples.npz", allow_pickle=False) as archive:
        return np.asarray(archive["image" if "image" in archive else "hu"])


def colours(pictures: Path, *numbers: int) -> np.ndarray:
    images = [np.asarray(Image.open(pictures / f"{i}.png")) for i in numbers]
    return np.stack(images).astype(np.float32) / 255


def test_known_pixels_stay_and_hidden_ones_differ(
    done: Done, pictures: Path, colour_prior: Path, tmp_path: Path
) -> None:
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[:, 7:] = 255  # half of the fourth column of 8 is white: it is not observed
    Image.fromarray(mask).save(tmp_path / "mask.png")
    both = ["--known", pictures / "1.png", "--known", pictures / "4.png"]
    args = ["generate", "--prior", colour_prior, *both, *FAST, "--mask", tmp_path / "mask.png"]
    done(*args, "-o", tmp_path / "out")
    x, true = read(tmp_path / "out"), colours(pictures, 1, 1, 4, 4)
    assert x.shape == (4, 8, 8, 3)
    assert np.array_equal(x[:, :, 4:], true[:, :, 4:])
    assert np.abs(x[0] - x[1])[:, :4].max() > 1e-3
    said = json.loads((tmp_path / "out" / "provenance.json").read_text())
    labels = [f"{file_sha256(pictures / name)[:12]}#0" for name in ("1.png", "4.png")]
    assert said["known"]["images"] == labels
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        shown = np.asarray(sheet)
    assert shown.shape == (8 * (2 * 10 - 2), 8 * (3 * 10 - 2), 3)
    seen = shown[4::8, 4::8][:8, :8]  # the observed part of the first picture
    assert np.abs(seen[:, 4:] / 255 - true[0, :, 4:]).max() < 1e-6
    assert (seen[:, :4] == 128).all()


def test_without_a_mask_a_box_in_the_middle_is_hidden(
    done: Done, scan: Path, prior: Path, tmp_path: Path
) -> None:
    args = ["generate", "--prior", prior, "--known", scan, "--hidden", 0.25, *FAST]
    done(*args, "-o", tmp_path / "out")
    done(*args, "-n", 1, "--batch-size", 1, "-o", tmp_path / "one")
    x = read(tmp_path / "out")
    hidden = np.zeros((32, 32), dtype=bool)
    hidden[12:20, 12:20] = True
    assert x.shape == (4, 32, 32)
    assert np.ptp(x[:2, ~hidden], axis=0).max() == np.ptp(x[2:, ~hidden], axis=0).max() == 0
    assert np.ptp(x[:2, hidden], axis=0).min() > 0
    assert np.allclose(read(tmp_path / "one"), x[::2], atol=0.5)


def test_block_means_stay(done: Done, pictures: Path, colour_prior: Path, tmp_path: Path) -> None:
    done("generate", "--prior", colour_prior, "--known", pictures / "3.png", "--task", "sr",
         "--factor", 4, *FAST, "-o", tmp_path / "out")  # fmt: skip
    x, true = (v.reshape(-1, 2, 4, 2, 4, 3).mean((2, 4))
               for v in (read(tmp_path / "out"), colours(pictures, 3)))  # fmt: skip
    assert np.allclose(x, true, atol=1e-5)


def test_samples_are_reduced_as_pictures_are(
    done: Done, colour_prior: Path, tmp_path: Path
) -> None:
    done("generate", "--prior", colour_prior, *FAST, "-o", tmp_path / "drawn")
    done("generate", "--prior", colour_prior, "--known", tmp_path / "drawn", "--task", "sr",
         *FAST, "-n", 1, "-o", tmp_path / "out")  # fmt: skip
    x, true = (read(tmp_path / name).reshape(2, 4, 2, 4, 2, 3).mean((2, 4))
               for name in ("out", "drawn"))  # fmt: skip
    assert np.allclose(x, true, atol=1e-5)


def test_greys_stay(done: Done, pictures: Path, colour_prior: Path, tmp_path: Path) -> None:
    done("generate", "--prior", colour_prior, "--known", pictures / "5.png", "--task", "colorize",
         *FAST, "-o", tmp_path / "out")  # fmt: skip
    x = read(tmp_path / "out")
    assert np.allclose(x.mean(-1), colours(pictures, 5, 5).mean(-1), atol=1e-5)
    assert np.abs(x - x.mean(-1, keepdims=True)).max() > 1e-3


def test_grey_files_are_coloured_as_they_are(
    done: Done, pictures: Path, colour_prior: Path, tmp_path: Path
) -> None:
    Image.open(pictures / "5.png").convert("L").save(tmp_path / "grey.png")
    done("generate", "--prior", colour_prior, "--known", tmp_path / "grey.png", "--task",
         "colorize", *FAST, "-o", tmp_path / "out")  # fmt: skip
    with Image.open(tmp_path / "grey.png") as image:
        grey = np.asarray(image).astype(np.float32) / 255
    assert np.allclose(read(tmp_path / "out").mean(-1), grey, atol=1e-5)


@pytest.mark.parametrize("conditioner", ["proximal", "dps", "ddnm"])
def test_any_conditioner_and_sampler(
    done: Done, pictures: Path, grey_prior: Path, tmp_path: Path, conditioner: str
) -> None:
    how = ["--conditioner", conditioner, "--sampler", "pc", "--grid", "uniform"]
    args = ["generate", "--prior", grey_prior, "--known", pictures / "0.png", *how, *FAST]
    done(*args, "-o", tmp_path / "out")
    assert np.array_equal(*read(tmp_path / "out")[:, 0])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--task", "magic"), "use one of: inpaint, sr, colorize"),
        (("--task", "colorize"), "--task is colorize, but prior tiny-grey is of grey images"),
        (("--task", "sr", "--factor", 3), "--factor is 3"),
        (("--hidden", 0), "--hidden is 0"),
        (("--conditioner", "magic"), "magic"),
        (("--mask", "MASK"), "0 of 64 pixels are white"),
        (("--mask", "nowhere.png"), "nowhere.png"),
        (("--mask", "WIDE"), "--mask has 16x8 pixels"),
        (("--mask", "JPEG"), "give a PNG"),
        (("--factor", 4), "--factor does not apply with --task inpaint"),
        (
            ("--mask", "MASK", "--hidden", 0.2),
            "--hidden does not apply with --task inpaint and --mask",
        ),
        (("--task", "sr", "--mask", "MASK"), "--mask does not apply with --task sr"),
    ],
    ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v)),
)
def test_refuses(
    refused: Refused, pictures: Path, grey_prior: Path, shared: Path, tmp_path: Path,
    options: tuple[object, ...], why: str,
) -> None:  # fmt: skip
    files = {
        "MASK": shared / "black.png",
        "WIDE": shared / "wide.png",
        "JPEG": shared / "black.jpg",
    }
    for name, file in files.items():
        Image.fromarray(np.zeros((8, 16 if name == "WIDE" else 8), dtype=np.uint8)).save(file)
    options = tuple(files.get(str(option), option) for option in options)
    args = ["generate", "--prior", grey_prior, "--known", pictures / "0.png", *FAST]
    assert why in " ".join(refused(*args, *options, "-o", tmp_path / "out").split())
