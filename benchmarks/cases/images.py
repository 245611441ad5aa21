"""Image files: NIfTI units; DICOM series, frames and kinds; TIFF pages, names, scales."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import tifffile
from cases.base import Case, Found
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from medscore.datasets.collections.cohort import read_cohort
from medscore.datasets.load import load_image, read_volume
from medscore.datasets.nifti import read_nifti
from medscore.datasets.raw.projections import ScanGeometry, read_projections
from medscore.errors import MedscoreError
from medscore.measurements.measurement import write_measurement
from medscore.measurements.simulation import simulate
from medscore.reconstruction.reference import reference_values
from medscore.reconstruction.run import reconstruct

Find = Callable[[Path], Found]
COUNT, SIDE = 6, 16


def _hu(seed: int = 0) -> NDArray[np.int64]:
    hu = np.random.default_rng(seed).integers(-500, 500, (SIDE, SIDE)) * 2
    hu[0, 0] = -1000
    return hu


def _slice(path: Path, stored: NDArray[Any], k: int = 0, **elements: Any) -> Path:
    """Write one slice; the stored numbers are HU."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.9.{k + 1}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = "1.2.3", "1.2.3.4", "CT"
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.PixelSpacing, ds.ImagePositionPatient, ds.InstanceNumber = [1, 1], [0, 0, 2 * k], k + 1
    ds.ImageOrientationPatient, ds.SliceThickness = [1, 0, 0, 0, 1, 0], 2
    path.parent.mkdir(parents=True, exist_ok=True)
    with pydicom.config.disable_value_validation():
        for keyword, value in elements.items():
            setattr(ds, keyword, value)
        ds.PixelData = stored.astype("<i2" if ds.PixelRepresentation else "<u2").tobytes()
        ds["PixelData"].VR = "OW"
        ds.save_as(path, enforce_file_format=True)
    return path


def _series(folder: Path) -> list[Path]:
    return [_slice(folder / "series" / f"IM{k}", _hu(k), k) for k in range(COUNT)]


def _refusal(words: str, call: Callable[..., Any], *args: Any, **options: Any) -> Found:
    try:
        call(*args, **options)
    except MedscoreError as error:
        what = f"refused: {error.what}"
        return Found(what[:160], words in what)
    return Found("read", right=False)


def unit(name: str, mm: float, folder: Path) -> Found:
    """Pixels of 0.8 mm written in another unit."""
    image = nib.Nifti1Image(
        np.float32(_hu())[..., None], np.diag([-0.8 / mm, -0.8 / mm, 2 / mm, 1])
    )
    image.header.set_xyzt_units(name)
    nib.save(image, folder / "a.nii")
    spacing = read_nifti(folder / "a.nii").spacing
    text = " x ".join(f"{side:.4g}" for side in spacing) + " mm"
    return Found(text, np.allclose(spacing, (0.8, 0.8, 2), rtol=1e-5))


def no_unit(folder: Path) -> Found:
    """Micrometres without a unit in the header."""
    image = nib.Nifti1Image(np.float32(_hu())[..., None], np.diag([-800.0, -800, 2000, 1]))
    nib.save(image, folder / "a.nii")
    return _refusal("no unit of lengths", read_nifti, folder / "a.nii")


def time_unit(name: str, step: float, folder: Path) -> Found:
    """The third volume of a series with 2.5 s between volumes."""
    data = np.random.default_rng(0).normal(size=(4, 4, 2, 3)).astype(np.float32)
    image = nib.Nifti1Image(data, np.diag([-1.0, -1, 1, 1]))
    image.header.set_xyzt_units("mm", name)
    image.header["pixdim"][4] = step
    nib.save(image, folder / "a.nii")
    (note,) = read_nifti(folder / "a.nii", channel=2).source.notes
    return Found(note, note.endswith("at 5 s"))


def form(change: Callable[[Path], None], folder: Path) -> Found:
    """Two files of a series in another form."""
    paths = _series(folder)
    expected = read_volume(folder / "series").values
    for path in paths[2:4]:
        change(path)
    found = read_volume(folder / "series").values
    return Found(f"{len(found)} slices", np.array_equal(found, expected))


def _headerless(path: Path) -> None:
    path.write_bytes(path.read_bytes()[132:])


def _gzipped(path: Path) -> None:
    path.with_name(f"{path.name}.dcm.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def lost(change: Callable[[Path], None], places: tuple[int, ...], folder: Path) -> Found:
    """Files that cannot be read, at the end of a series or in its middle."""
    paths = _series(folder)
    for k in places:
        change(paths[k])
    if max(places) < COUNT - 1 or 0 < min(places) < 4:
        return _refusal("missing", read_volume, folder / "series")
    volume = read_volume(folder / "series")
    note = next(iter(volume.source.notes), "no note")
    return Found(f"{len(volume.values)} slices; {note}", "left out" in note)


def inverted(folder: Path) -> Found:
    """Two slices of equal tissue and other extremes, stored as 4095 - x."""
    x = np.random.default_rng(0).integers(0, 500, (SIDE, SIDE))
    bright = x.copy()
    bright[0] = 3000
    elements = {"Modality": "MR", "PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12,
                "HighBit": 11, "PixelRepresentation": 0}  # fmt: skip
    for k, image in enumerate((x, bright)):
        _slice(folder / "mr" / f"{k}", 4095 - image, k, **elements)
    values = read_volume(folder / "mr").values
    worst = float(np.abs(values - [x, bright]).max())
    return Found(f"largest difference {worst:g}", worst == 0)


def colour(photometric: str, folder: Path) -> Found:
    """Indices of a palette, or colours packed into one sample."""
    path = _slice(folder / "a", _hu(), PhotometricInterpretation=photometric)
    return _refusal("colour image", load_image, path)


def kind(modality: str, image_type: str, word: str, folder: Path) -> Found:
    """An image that is no slice of the patient: refused, and read with its word."""
    elements: dict[str, Any] = {"Modality": modality, "ImageType": image_type.split("\\")}
    path = _slice(folder / "a", _hu() + 1000 * (modality == "MR"), **elements)
    load_image(path, accept=word)
    return _refusal("the image is", load_image, path)


def frames(syntax: str, stated: int, folder: Path) -> Found:
    """Three frames in a file that states another number."""
    path = _slice(folder / "a", np.stack([_hu(k) for k in range(3)]), NumberOfFrames=3)
    ds = pydicom.dcmread(path)
    if syntax != "native":
        ds.compress({"RLE": RLELossless, "JPEG-LS": JPEGLSLossless}[syntax])
        ds.PixelData = encapsulate(list(generate_frames(ds.PixelData, number_of_frames=3)))
    ds.NumberOfFrames = stated
    ds.save_as(path)
    return _refusal("the pixel data hold 3", read_volume, path)


def all_groups_per_frame(folder: Path) -> Found:
    """Enhanced MR without shared functional groups."""
    stored = np.stack([_hu(k) + 1000 for k in range(4)])
    path = _slice(folder / "a", stored, Modality="MR", NumberOfFrames=4)
    ds = pydicom.dcmread(path)
    for keyword in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"):
        delattr(ds, keyword)
    items = []
    for k in range(4):
        item = Dataset()
        for sequence, elements in (
            ("PixelMeasuresSequence", {"PixelSpacing": [0.9, 0.9], "SliceThickness": 2}),
            ("PlaneOrientationSequence", {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}),
            ("PlanePositionSequence", {"ImagePositionPatient": [0, 0, 2 * k]}),
        ):
            inner = Dataset()
            for keyword, value in elements.items():
                setattr(inner, keyword, value)
            setattr(item, sequence, [inner])
        items.append(item)
    ds.PerFrameFunctionalGroupsSequence = items
    ds.save_as(path)
    volume = read_volume(path)
    text = f"{len(volume.values)} slices, " + " x ".join(f"{s:g}" for s in volume.spacing) + " mm"
    return Found(text, np.array_equal(volume.values, stored) and volume.spacing == (0.9, 0.9, 2))


def jpeg_12_bit(folder: Path) -> Found:
    """A 12-bit JPEG of pydicom's, with the values that its authors read in a viewer."""
    ds = pydicom.dcmread(str(pydicom.data.get_testdata_file("JPEG-lossy.dcm", download=False)))
    ds.Modality, ds.PixelSpacing, ds.ImagePositionPatient = "MR", [1, 1], [0, 0, 0]
    ds.save_as(folder / "a.dcm")
    values = read_volume(folder / "a.dcm").values[0]
    pair = float(values[420, 140]), float(values[230, 120])
    return Found(f"{pair[0]:g} and {pair[1]:g}", pair == (244, 95))


def identifier(uid: str, folder: Path) -> Found:
    """An identifier of wrong form, from the file to the measurement."""
    path = _slice(folder / "a", _hu(), StudyInstanceUID=uid, SOPInstanceUID=uid)
    volume = load_image(path)
    write_measurement(folder / "m.h5", simulate(volume, "sparse-ct", views=3))
    made = volume.source.uids["StudyInstanceUID"]
    return Found(made, pydicom.uid.UID(made).is_valid and volume.source.instances == (made,))


def pages(folder: Path) -> Found:
    """A TIFF file whose pages were written one by one."""
    stack = np.random.default_rng(0).uniform(0.1, 2, (3, 5, 12)).astype(np.float32)
    with tifffile.TiffWriter(folder / "p.tif") as file:
        for page in stack:
            file.write(page)
    geometry = ScanGeometry(beam="parallel", size=8, spacing=1.0, views=5, detector_spacing=1.0)
    found = read_projections(folder / "p.tif", geometry).data
    return Found(f"{len(found)} pages", np.array_equal(found, stack))


def brackets(folder: Path) -> Found:
    """A pattern with a folder whose name holds glob characters."""
    (folder / "data [1]").mkdir()
    image = nib.Nifti1Image(np.float32(_hu())[..., None], np.diag([-2.0, -2, 2, 1]))
    nib.save(image, folder / "data [1]" / "a.nii")
    found = read_cohort(["data [1]/*.nii"], root=folder, modality="CT", size=8)
    return Found(f"{len(found)} slice", len(found) == 1)


def reference(folder: Path) -> Found:
    """The file of a measurement that was made with a channel, as its reference."""
    data = np.stack([_hu(k) for k in range(3)], -1)[:, :, None].astype(np.float32)
    nib.save(nib.Nifti1Image(data, np.diag([-2.0, -2, 2, 1])), folder / "a.nii")
    volume = load_image(folder / "a.nii", channel=2)
    found = reference_values(folder / "a.nii", simulate(volume, "sparse-ct", views=3))
    same = found is not None and np.array_equal(found, volume.values)
    return Found("the measured volume" if same else "another image", same)


def scaled(factor: float, folder: Path) -> Found:
    """The same head in another unit, measured and reconstructed."""
    y, x = np.mgrid[-15.5:16, -15.5:16]
    head = 600.0 * (np.hypot(x, y) < 13) + 300 * (np.hypot(x - 5, y + 2) < 4)
    found = []
    for scale in (1.0, factor):
        image = nib.Nifti1Image((head * scale)[..., None], np.diag([-3.0, -3, 5, 1]))
        nib.save(image, folder / "a.nii")
        m = simulate(
            load_image(folder / "a.nii", modality="MR"), "mri", noise=f"gaussian:{scale:g}"
        )
        found.append(reconstruct(m, method="fista-tv").mean / scale)
    worst = float(np.abs(found[1] - found[0]).max() / found[0].max())
    return Found(f"relative difference {worst:.1e}", worst < 1e-4)


def useless(option: str, value: Any, folder: Path) -> Found:
    """An option that a 3-D NIfTI file has no use for."""
    image = nib.Nifti1Image(np.float32(_hu())[..., None], np.diag([-2.0, -2, 2, 1]))
    nib.save(image, folder / "a.nii")
    return _refusal(f"`{option}` is", load_image, folder / "a.nii", **{option: value})


NIFTI, SERIES = "NIfTI units", "DICOM files of a folder"
FRAMES, KINDS = "DICOM frames and identifiers", "DICOM images that are no slices"
OTHER = "Other image files and options"

CASES = [
    *(Case(NIFTI, f"pixels of 0.8 mm in {name}", "0.8 x 0.8 x 2 mm", partial(unit, name, mm),
           "InsightSoftwareConsortium/ITK#4595")
      for name, mm in (("mm", 1.0), ("micron", 1e-3), ("meter", 1e3), ("unknown", 1.0))),
    Case(NIFTI, "micrometres, the header states no unit", "a refusal", no_unit,
         "black0017/ct-intensity-segmentation#1"),
    *(Case(NIFTI, f"2.5 s between volumes in {name}, the third volume", "at 5 s",
           partial(time_unit, name, step), "nipreps/fmriprep#786")
      for name, step in (("sec", 2.5), ("msec", 2500), ("usec", 2.5e6))),
    Case(SERIES, "two files without a preamble", "6 slices", partial(form, _headerless),
         "pydicom/pydicom#150"),
    Case(SERIES, "two files compressed by gzip", "6 slices", partial(form, _gzipped)),
    *(Case(SERIES, f"the last two of six files {what}", "4 slices and a note",
           partial(lost, change, (4, 5)), "rordenlab/dcm2niix#831")
      for what, change in (("empty", _empty), ("zeroed", _zeros))),
    *(Case(SERIES, f"files {', '.join(map(str, places))} of 0 to 5 {what}", "a refusal",
           partial(lost, change, places), "Slicer/Slicer#4005")
      for what, change in (("empty", _empty), ("zeroed", _zeros))
      for places in ((2,), (2, 3), (1, 3, 5))),
    *(Case(KINDS, f"{modality} {image_type}", f"a refusal; read with `accept` {word}",
           partial(kind, modality, image_type, word), "DICOM PS3.3 C.7.6.1.1.2")
      for modality, image_type, word in (
          ("CT", r"ORIGINAL\PRIMARY\LOCALIZER", "localizer"),
          ("MR", r"ORIGINAL\PRIMARY\P\ND", "phase"),
          ("MR", r"ORIGINAL\PRIMARY\PHASE MAP\P\PCA", "phase"),
          ("MR", r"DERIVED\PRIMARY\DIFFUSION\ADC", "map"),
          ("CT", r"DERIVED\SECONDARY\REFORMATTED\MIP", "projection"),
          ("MR", r"ORIGINAL\PRIMARY\M\ND\MOSAIC", "mosaic"),
          ("CT", r"DERIVED\SECONDARY\SCREEN SAVE", "capture"),
          ("CT", r"DERIVED\SECONDARY\AXIAL", "derived"))),
    *(Case(KINDS, f"{photometric}, one sample per pixel", "a refusal", partial(colour, photometric),
           "DICOM PS3.3 C.7.6.3.1.2") for photometric in ("PALETTE COLOR", "ARGB")),
    Case(FRAMES, "MONOCHROME1, 12 bits, slices of other extremes", "x of 4095 - x in every slice",
         inverted, "DICOM PS3.3 C.7.6.3.1.2; scifio/scifio#311"),
    *(Case(FRAMES, f"3 frames, {syntax}, NumberOfFrames {stated}", "a refusal at once",
           partial(frames, syntax, stated), "pydicom/pydicom#1666")
      for syntax in ("native", "RLE", "JPEG-LS") for stated in (2, 4, 60_000)),
    Case(FRAMES, "enhanced MR without shared functional groups", "4 slices, 0.9 x 0.9 x 2 mm",
         all_groups_per_frame, "Enet4/dicom-rs#437"),
    Case(FRAMES, "12-bit JPEG", "244 and 95", jpeg_12_bit, "tfmoraes/python-gdcm#35"),
    *(Case(FRAMES, f"UID {uid!r:.24}", "a valid UID throughout", partial(identifier, uid),
           "DICOM PS3.5 9.1") for uid in ("1.02.3", "1." + "2" * 70, "1.2\0.3")),
    Case(OTHER, "TIFF pages written one by one", "3 pages", pages, "cgohlke/tifffile#191"),
    Case(OTHER, "a folder named `data [1]`", "1 slice", brackets, "CNES/MAJA#16"),
    Case(OTHER, "the reference of a measured channel", "the measured volume", reference),
    *(Case(OTHER, f"MR image times {factor:g}", "equal up to 1e-4", partial(scaled, factor))
      for factor in (1e-21, 1e20)),
    *(Case(OTHER, f"`{option}` for a 3-D NIfTI file", "a refusal", partial(useless, option, value))
      for option, value in (("channel", 1), ("series", "x"), ("resample", True))),
]  # fmt: skip
