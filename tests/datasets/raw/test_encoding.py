"""The encoding spaces of an ISMRMRD header, and the image that k-space of some shape gives."""

from dataclasses import replace
from pathlib import Path

import pytest

from medscore.datasets.raw.encoding import Encoding, geometry, read_encodings
from medscore.errors import MedscoreError

SPACE = """<encoding><encodedSpace><matrixSize><x>256</x><y>128</y><z>1</z></matrixSize>
<fieldOfView_mm><x>512</x><y>256</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>128</x><y>128</y><z>1</z></matrixSize>
<fieldOfView_mm><x>256</x><y>256</y><z>5</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><center>50</center></kspace_encoding_step_1>
</encodingLimits><trajectory>Cartesian</trajectory>
<parallelImaging><calibrationMode>separate</calibrationMode></parallelImaging></encoding>"""
TWICE = Encoding(
    "cartesian", (256, 128, 1), (128, 128, 1), (512.0, 256.0, 5.0), (256.0, 256.0, 5.0), 50,
    "separate",
)  # fmt: skip
WHERE = Path("f.h5")


def header(*spaces: str) -> str:
    return f'<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">{"".join(spaces)}</ismrmrdHeader>'


def test_all_encoding_spaces_are_read() -> None:
    other = SPACE.replace("<center>50</center>", "").replace("separate", "embedded")
    found = read_encodings(header(SPACE, other), WHERE)
    assert found == [TWICE, replace(TWICE, centre=64, calibration="embedded")]


@pytest.mark.parametrize("text", ["<a", "<a/>", header(SPACE.replace("512", "0"))])
def test_refuses_headers_without_geometry(text: str) -> None:
    with pytest.raises(MedscoreError, match="no geometry"):
        read_encodings(text, WHERE)


@pytest.mark.parametrize(
    ("shape", "spacing", "oversampling"),
    [
        ((256, 128), (2.0, 2.0, 5.0), 2.0),  # as encoded
        ((256, 96), (256 / 96, 2.0, 5.0), 2.0),  # fewer phase encodings are a lower resolution
        ((200, 128), (2.0, 2.56, 5.0), 2.0),
        ((128, 128), (2.0, 2.0, 5.0), 1.0),  # cropped to reconSpace before
    ],
)
def test_the_pixel_follows_from_the_header_and_the_samples(
    shape: tuple[int, int], spacing: tuple[float, ...], oversampling: float
) -> None:
    found = geometry(TWICE, shape)
    assert found.spacing == pytest.approx(spacing)
    assert found.oversampling == oversampling
    assert bool(found.notes) == (oversampling == 1)


def test_oversampled_phase_encodings_that_were_cropped() -> None:
    """And a reconstructed matrix that is only finer, whose samples are not those of the file."""
    wide = replace(TWICE, matrix=(128, 160, 1), field=(256.0, 320.0, 5.0))
    assert geometry(wide, (128, 128)).spacing == pytest.approx((2.0, 2.0, 5.0))
    assert geometry(wide, (128, 160)).spacing == pytest.approx((2.0, 2.0, 5.0))
    finer = replace(TWICE, matrix=(64, 64, 1), field=(256.0, 256.0, 5.0))
    assert geometry(finer, (64, 64)).spacing == pytest.approx((4.0, 4.0, 5.0))
