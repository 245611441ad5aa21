"""Pictures are opened in five formats only, whatever they are called."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from medscore.datasets.collections.pictures import load_pictures
from medscore.generation.observations import _shape
from medscore.io.budget import VARIABLE
from medscore.io.pictures import FORMATS, open_picture

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
OTHERS = {"EPS": EPS, "PPM": b"P6 8 8 255\n" + bytes(192), "text": b"no picture", "nothing": b""}


def _open(path: Path) -> tuple[int, int]:
    with open_picture(path) as image:
        return image.size


@pytest.mark.parametrize("kind", FORMATS)
def test_the_formats_are_read_by_content(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(path, kind)
    assert _open(path) == (9, 8)


@pytest.mark.parametrize("kind", OTHERS)
def test_other_formats_are_refused_and_no_interpreter_is_started(
    kind: str, refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("Ghostscript is started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started)
    path = tmp_path / "x.png"
    path.write_bytes(OTHERS[kind])
    assert "cannot be read as" in refused(_open, path)
    assert _shape(path) is None
    with pytest.raises(Exception, match="cannot be read as pictures"):
        load_pictures(["*.png"], root=tmp_path, size=8, colour=False)


def test_pixels_are_counted_before_they_are_decoded(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(np.zeros((100, 100), np.uint8)).save(path)
    monkeypatch.setenv(VARIABLE, "30K")
    assert "memory budget" in refused(_open, path)
    monkeypatch.setattr("medscore.io.pictures.LARGEST", 9999)
    assert "100x100 pixels are not in the file" in refused(_open, path)
