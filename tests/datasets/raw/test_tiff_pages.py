"""A TIFF file is read with all its pages, however they were written, or refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from medscore.datasets.collections.pictures import load_pictures
from medscore.datasets.raw.projections import ScanGeometry, read_projections
from medscore.errors import MedscoreError

GEOMETRY = ScanGeometry(beam="parallel", size=8, spacing=1.0, views=5, detector_spacing=1.0)
STACK = np.random.default_rng(0).uniform(0.1, 2, (3, 5, 12)).astype(np.float32)


def _at_once(path: Path, stack: NDArray[np.float32]) -> None:
    tifffile.imwrite(path, stack, photometric="minisblack")


def _one_by_one(path: Path, stack: NDArray[np.float32]) -> None:
    with tifffile.TiffWriter(path) as file:
        for page in stack:
            file.write(page)


def _without_metadata(path: Path, stack: NDArray[np.float32]) -> None:
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for page in stack:
            file.write(page, metadata=None, contiguous=False)


def _appended(path: Path, stack: NDArray[np.float32]) -> None:
    for page in stack:
        tifffile.imwrite(path, page, append=True)


def _compressed(path: Path, stack: NDArray[np.float32]) -> None:
    with tifffile.TiffWriter(path) as file:
        for page in stack:
            file.write(page, compression="zlib")


def _by_pillow(path: Path, stack: NDArray[np.float32]) -> None:
    first, *rest = (Image.fromarray(page) for page in stack)
    first.save(path, save_all=True, append_images=rest)


WRITERS = [_at_once, _one_by_one, _without_metadata, _appended, _compressed, _by_pillow]


@pytest.mark.parametrize("write", WRITERS)
def test_all_pages_are_read(
    tmp_path: Path, write: Callable[[Path, NDArray[np.float32]], None]
) -> None:
    write(tmp_path / "p.tif", STACK)
    np.testing.assert_array_equal(read_projections(tmp_path / "p.tif", GEOMETRY).data, STACK)


@pytest.mark.parametrize(
    "others", [STACK[:, :4], STACK[:, :, :11], STACK.astype(np.float64), STACK[:2]]
)
def test_pages_that_make_no_stack_are_refused(tmp_path: Path, others: NDArray[np.floating]) -> None:
    with tifffile.TiffWriter(tmp_path / "p.tif") as file:
        file.write(STACK, photometric="minisblack")
        file.write(others, photometric="minisblack")
    with pytest.raises(MedscoreError, match="holds 2 images"):
        read_projections(tmp_path / "p.tif", GEOMETRY)


@pytest.mark.parametrize("name", ["p.tif", "p.png", "p.webp"])
def test_a_picture_of_several_pages_is_refused(tmp_path: Path, name: str) -> None:
    pages = [Image.fromarray(np.full((8, 8), k, dtype=np.uint8)) for k in (10, 200)]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    with pytest.raises(MedscoreError, match="2 pages or frames"):
        load_pictures(["p.*"], root=tmp_path, size=8, colour=False)
