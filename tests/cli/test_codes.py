"""``medscore encode`` and ``medscore decode`` are inverse, resume, and interpolate."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medscore.generation import coding as module
from medscore.io.opening import file_sha256
from medscore.likelihood.inputs import read_images
from medscore.priors.checkpoint import read_checkpoint

Done = Callable[..., Any]
Refused = Callable[..., str]


@pytest.fixture(scope="module")
def codes(
    done: Done, pictures: Path, grey_prior: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Codes of three images."""
    file = tmp_path_factory.mktemp("codes") / "codes.npz"
    done("encode", pictures, "--prior", grey_prior, "--limit", 3, "--tolerance", 1e-8, "-o", file)
    return file


def images(folder: Path) -> np.ndarray:
    with np.load(folder / "samples.npz", allow_pickle=False) as archive:
        return np.asarray(archive["image"])


def code(file: Path) -> np.ndarray:
    with np.load(file, allow_pickle=False) as archive:
        return np.asarray(archive["code"])


@pytest.mark.slow
def test_decoding_undoes_encoding(
    done: Done, pictures: Path, grey_prior: Path, codes: Path, tmp_path: Path
) -> None:
    done("decode", codes, "--prior", grey_prior, "--tolerance", 1e-8, "-o", tmp_path / "out")
    read = read_images(pictures, read_checkpoint(grey_prior).contract, limit=3).x
    assert np.abs(images(tmp_path / "out") / 16 - read[:, 0].numpy()).max() < 1e-3
    said = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert said["codes"]["prior"] == said["prior"]["sha256"]


def test_codes_record_their_images_by_hash_and_sde(codes: Path, pictures: Path) -> None:
    with np.load(codes, allow_pickle=False) as archive:
        assert archive["code"].shape == (3, 1, 8, 8)
        assert archive["code"].dtype == np.float64
        hashes = [file_sha256(pictures / f"{i}.png")[:12] for i in (0, 2, 5)]
        assert list(archive["image"]) == [f"{sha256}#0" for sha256 in hashes]
        assert "name" not in archive
        assert str(archive["sde"]).startswith('{"kind":"ve"')


@pytest.mark.slow
def test_the_library_returns_what_the_commands_write(
    done: Done, pictures: Path, grey_prior: Path, codes: Path, tmp_path: Path
) -> None:
    steps: list[tuple[int, int]] = []
    found = module.encode_images(
        str(pictures), str(grey_prior), against=grey_prior, limit=3, tolerance=1e-8,
        on_step=lambda info: steps.append((info.done, info.total)),
    )  # fmt: skip
    assert np.array_equal(found.code.numpy(), code(codes))
    assert found.names == ("0.png#0", "2.png#0", "5.png#0")
    assert found.agreement is not None
    assert found.agreement.difference == 0
    assert list(dict.fromkeys(steps)) == [(i, 6) for i in range(7)]
    done("decode", codes, "--prior", grey_prior, "--tolerance", 1e-5, "-o", tmp_path / "out")
    decoded = module.decode_codes(str(codes), str(grey_prior), tolerance=1e-5)
    assert np.array_equal(decoded.values, images(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
def test_between_starts_and_ends_at_the_codes(
    done: Done, grey_prior: Path, codes: Path, tmp_path: Path
) -> None:
    args = ["decode", codes, "--prior", grey_prior, "--tolerance", 1e-5]
    done(*args, "-o", tmp_path / "ends")
    done(*args, "--between", 3, "-o", tmp_path / "ways")
    ends, ways = images(tmp_path / "ends"), images(tmp_path / "ways")
    assert len(ways) == 6
    assert np.allclose(ways[[0, 2, 3, 5]], ends[[0, 1, 1, 2]], atol=1e-2)
    assert np.abs(ways[1] - ends[0]).max() > 0.1


@pytest.mark.slow
def test_temperature_is_times_the_codes(
    done: Done, grey_prior: Path, codes: Path, tmp_path: Path
) -> None:
    with np.load(codes, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive}
    np.savez(tmp_path / "half.npz", **(arrays | {"code": arrays["code"] / 2}))
    args = ["--prior", grey_prior, "--tolerance", 1e-5]
    done("decode", codes, *args, "--temperature", 0.5, "-o", tmp_path / "a")
    done("decode", tmp_path / "half.npz", *args, "-o", tmp_path / "b")
    assert np.allclose(images(tmp_path / "a"), images(tmp_path / "b"), atol=1e-6)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_with_the_next_image(
    done: Done, medscore: Done, pictures: Path, grey_prior: Path, codes: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    real, seen = module.encode, []

    def stopped(*args: Any, **keywords: Any) -> Any:
        seen.append(args)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(*args, **keywords)

    monkeypatch.setattr(module, "encode", stopped)
    args = ["encode", pictures, "--prior", grey_prior, "--limit", 3, "--tolerance", 1e-8]
    assert medscore(*args, "-o", tmp_path / "codes.npz").code == 130
    assert not (tmp_path / "codes.npz").exists()
    done(*args, "-o", tmp_path / "codes.npz")
    assert len(seen) == 4
    assert np.array_equal(code(tmp_path / "codes.npz"), code(codes))
    assert [p.name for p in tmp_path.iterdir()] == ["codes.npz"]


@pytest.mark.slow
def test_two_priors_are_compared(
    done: Done, make_prior: Callable[..., Path], pictures: Path, grey_prior: Path, tmp_path: Path
) -> None:
    args = ["encode", pictures, "--prior", grey_prior, "--limit", 3, "--tolerance", 1e-5]
    same = done(*args, "--against", grey_prior, "-o", tmp_path / "a.npz").out
    found = json.loads(same)
    assert found["difference"] == 0
    assert found["shuffled"] > 0
    assert found["correlation"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("encode", "PICTURES", "--against", "ct-128", "-o", "OUT.npz"), "is for images (1, 128"),
        (("encode", "PICTURES", "--limit", 1, "--against", "PRIOR", "-o", "OUT.npz"), "a single"),
        (("encode", "PICTURES", "--limit", 0, "-o", "OUT.npz"), "--limit is 0"),
        (("encode", "PICTURES", "--tolerance", 0, "-o", "OUT.npz"), "--tolerance is 0"),
        (("encode", "PICTURES", "--precision", "bf16", "-o", "OUT.npz"), "--precision is 'bf16'"),
        (("encode", "PICTURES", "-o", "OUT.h5"), "end its name with .npz"),
        (("encode", "nowhere.png", "-o", "OUT.npz"), "nowhere.png"),
        (("decode", "CODES", "--between", 1, "-o", "OUT"), "--between is 1 with 3 code(s)"),
        (("decode", "CODES", "--temperature", -1, "-o", "OUT"), "--temperature is -1"),
        (("decode", "CODES", "--prior", "ct-128", "-o", "OUT"), "cannot be read as codes of this"),
        (("decode", "PRIOR", "-o", "OUT"), "cannot be read as codes of this prior"),
    ],
    ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v)),
)
def test_refuses(
    refused: Refused, pictures: Path, grey_prior: Path, codes: Path, tmp_path: Path,
    args: tuple[object, ...], why: str,
) -> None:  # fmt: skip
    names = {"PICTURES": pictures, "CODES": codes, "PRIOR": grey_prior, "OUT": tmp_path / "out",
             "OUT.npz": tmp_path / "out.npz", "OUT.h5": tmp_path / "out.h5"}  # fmt: skip
    words = [names.get(str(arg), arg) for arg in args]
    if "ct-128" not in words or words[0] == "encode":
        words += ["--prior", grey_prior]
    assert why in " ".join(refused(*words).split())
