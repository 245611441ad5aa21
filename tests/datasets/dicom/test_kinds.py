"""Images that are no magnitudes or CT numbers of slices are named, and used only on request."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from medscore.datasets.dicom.kinds import KINDS, kinds_of
from medscore.datasets.load import load_image, read_volume
from medscore.errors import MedscoreError

Bundled = Callable[[str], Path]
WriteSlice = Callable[..., Path]

TYPES = [
    ("CT", r"ORIGINAL\PRIMARY\LOCALIZER", "localizer"),
    ("CT", r"ORIGINAL\PRIMARY\AXIAL\TOPOGRAM", "localizer"),
    ("MR", r"ORIGINAL\PRIMARY\P\ND", "phase"),
    ("MR", r"ORIGINAL\PRIMARY\PHASE MAP\P\PCA", "phase"),
    ("MR", r"ORIGINAL\PRIMARY\R_FFE\R\FFE", "phase"),
    ("MR", r"DERIVED\PRIMARY\IMAGINARY", "phase"),
    ("MR", r"DERIVED\SECONDARY\PROJECTION IMAGE", "projection"),
    ("MR", r"DERIVED\SECONDARY\MPR\CSA MIP", "projection"),
    ("CT", r"DERIVED\SECONDARY\REFORMATTED\MIP", "projection"),
    ("CT", r"DERIVED\SECONDARY\MIN_IP", "projection"),
    ("MR", r"DERIVED\PRIMARY\DIFFUSION\ADC", "map"),
    ("MR", r"DERIVED\PRIMARY\DIFFUSION\FA", "map"),
    ("MR", r"DERIVED\PRIMARY\T1 MAP", "map"),
    ("CT", r"DERIVED\PRIMARY\PERFUSION\RCBF", "map"),
    ("MR", r"ORIGINAL\PRIMARY\M\ND\MOSAIC", "mosaic"),
    ("CT", r"DERIVED\SECONDARY\SCREEN SAVE", "capture"),
    ("CT", r"DERIVED\SECONDARY\AXIAL", "derived"),
    ("MR", r"DERIVED\SECONDARY\MPR\CSA MPR", "derived"),
    ("CT", r"DERIVED\SECONDARY\REFORMATTED\AVERAGE", "derived"),
]
PLAIN = [
    ("CT", r"ORIGINAL\PRIMARY\AXIAL"), ("CT", r"ORIGINAL\PRIMARY\AXIAL\CT_SOM5 SPI"),
    ("CT", r"ORIGINAL\SECONDARY\AXIAL"), ("MR", r"ORIGINAL\PRIMARY\M\ND\NORM"),
    ("MR", r"ORIGINAL\PRIMARY\M_SE\M\SE"), ("MR", r"ORIGINAL\PRIMARY\OTHER"),
    ("MR", r"ORIGINAL\PRIMARY\T1\NONE"), ("CT", ""), ("CT", r"ORIGINAL\PRIMARY\AXIAL\HELIX"),
]  # fmt: skip


def _header(modality: str, image_type: str, **elements: Any) -> Dataset:
    ds = Dataset()
    ds.Modality, ds.ImageType = modality, image_type.split("\\")
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


@pytest.mark.parametrize(("modality", "image_type", "kind"), TYPES)
def test_the_kind_of_an_image_follows_from_its_type(
    modality: str, image_type: str, kind: str
) -> None:
    (found,) = kinds_of(_header(modality, image_type)).items()
    assert found[0] == kind
    assert KINDS[kind] in found[1]
    assert image_type in found[1]


@pytest.mark.parametrize(("modality", "image_type"), PLAIN)
def test_slices_of_the_patient_have_no_kind(modality: str, image_type: str) -> None:
    assert kinds_of(_header(modality, image_type)) == {}


@pytest.mark.parametrize(
    ("elements", "kind"),
    [
        ({"ComplexImageComponent": "PHASE"}, "phase"),
        ({"ComplexImageComponent": "MAGNITUDE"}, None),
        ({"VolumeBasedCalculationTechnique": "MAX_IP"}, "projection"),
        ({"VolumeBasedCalculationTechnique": "NONE"}, None),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2"}, "capture"),
        ({"Modality": "CT", "RescaleType": "MGML"}, "map"),
        ({"Modality": "CT", "RescaleType": "HU"}, None),
        ({"Modality": "CT", "RescaleType": "Houndsfield Unit"}, None),
        ({"Modality": "CT", "RescaleType": "Hounsfield"}, None),
    ],
)
def test_other_elements_state_the_kind_too(elements: dict[str, str], kind: str | None) -> None:
    header = _header("MR", r"ORIGINAL\PRIMARY\OTHER", **elements)
    assert list(kinds_of(header)) == ([] if kind is None else [kind])


def test_frames_have_kinds_of_their_own() -> None:
    header, frame, inner = _header("MR", r"ORIGINAL\PRIMARY\OTHER\NONE"), Dataset(), Dataset()
    inner.FrameType = ["ORIGINAL", "PRIMARY", "PHASE MAP", "NONE"]
    frame.MRImageFrameTypeSequence = [inner]
    header.PerFrameFunctionalGroupsSequence = [Dataset(), frame]
    assert list(kinds_of(header)) == ["phase"]


def test_lossy_compression_alone_makes_no_derived_image(bundled: Bundled) -> None:
    """DICOM PS3.3 C.7.6.1.1.5: such a file is marked DERIVED."""
    path = bundled("693_J2KI.dcm")
    assert str(pydicom.dcmread(path).ImageType[0]).startswith("DERIVED")
    assert load_image(path, size=32).source.kinds == ()


@pytest.mark.parametrize(("modality", "image_type", "kind"), TYPES)
def test_a_kind_needs_its_word(
    write_slice: WriteSlice, modality: str, image_type: str, kind: str
) -> None:
    hu = np.random.default_rng(0).integers(-500, 500, (8, 8)) * 2
    elements = {"Modality": modality, "ImageType": image_type.split("\\"), "PixelSpacing": [1, 1]}
    if modality == "MR":
        elements |= {"PixelRepresentation": 0, "RescaleIntercept": 0}
    path = write_slice("a.dcm", hu, **elements)
    assert read_volume(path).source.kinds == (kind,)
    other = "localizer" if kind == "derived" else "derived"
    for accept in ((), other):
        with pytest.raises(MedscoreError, match=f"set `accept` to {kind}"):
            load_image(path, accept=accept)
    assert load_image(path, accept=[other, kind]).source.taken.accept == (kind,)


@pytest.mark.parametrize("accept", ["word", ["phase", 3], 3, None])
def test_an_unknown_word_is_refused(bundled: Bundled, accept: Any) -> None:
    with pytest.raises(MedscoreError, match="`accept`"):
        load_image(bundled("CT_small.dcm"), accept=accept)
