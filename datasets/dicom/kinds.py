r"""What an image shows, if not the magnitudes or CT numbers of a slice of the patient.

It stands in ImageType (DICOM PS3.3 C.7.6.1.1.2, C.8.2.1.1.1, C.8.3.1.1.1, and for enhanced objects
C.8.13.3 and C.8.15.2), such as ORIGINAL\PRIMARY\LOCALIZER or DERIVED\SECONDARY\MIP, and for some
files in ComplexImageComponent, VolumeBasedCalculationTechnique or RescaleType. Whoever uses such an
image must say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pydicom.dataset import Dataset

KINDS = {
    "localizer": "a localizer",
    "phase": "a phase, real or imaginary image",
    "projection": "a projection through a volume",
    "map": "a map of a computed quantity",
    "mosaic": "a mosaic of slices",
    "capture": "a secondary capture",
    "derived": "derived from other images",
}
"""Kinds of images that need a word to be used, with their descriptions; the first that fits."""

_TOKENS: Mapping[str, str] = {
    "localizer": r"LOCALI[SZ]ER|SCOUT|TOPOGRAM|SURVIEW|SCANOGRAM",
    "phase": r"(P|R|I|PHASE|REAL|IMAGINARY)([ _](MAP|PCA|FFE|SE|TFE|EPI|IR|B0))?|VELOCITY MAP",
    "projection": r"PROJECTION IMAGE|(.* )?(MIP|MINIP|MNIP)|M(AX|IN)[ _]IP|MAXIMUM|MINIMUM"
    r"|(VOLUME|SURFACE)[ _]RENDER(ED|ING)?|VRT|SSD",
    "map": r".*[ _]MAP|E?ADC|FA|TENSOR|R?CB[FV]|MTT|TTP|TMAX|BAT|KTRANS|KEP|Z[ _]EFF|R2([ _]?STAR)?"
    r"|ELECTRON[ _]DENSITY|MAT[ _]SPECIFIC|MATERIAL|FAT[ _]FRACTION|FIELD|STIFFNESS|TTEST",
    "mosaic": r"MOSAIC",
    "capture": r"SCREEN[ _]?(SAVE|SHOT|CAPTURE)|SECONDARY[ _]CAPTURE|DOSE[ _](INFO|REPORT)",
}

_MR_ONLY = ("phase",)
_CAPTURE, _LOSSY = "1.2.840.10008.5.1.4.1.1.7", "113040"
_HU = r"|HU.*|HOUN.*|US|UNSPECIFIED"
"""Rescale types of CT numbers; some files spell the unit out."""

_FRAME_TYPES = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence")


def kinds_of(dataset: Dataset) -> dict[str, str]:
    """Kinds of the images of a file, each with a description in one sentence.

    Args:
        dataset: content of the file.

    Returns:
        Descriptions by kind, a key of ``KINDS``; empty for the magnitudes or CT numbers of slices.
    """
    found: dict[str, str] = {}
    for types in dict.fromkeys(_types(dataset)):
        kind = _kind(dataset, types)
        if kind is not None:
            stated = "\\".join(types)
            about = f" (ImageType {stated})" if stated else ""
            found.setdefault(kind, f"the image is {KINDS[kind]}{about}")
    return found


def _types(dataset: Dataset) -> Iterator[tuple[str, ...]]:
    """Image type of the file and of its frames, with what else states the kind."""
    more = (
        dataset.get("ComplexImageComponent"), dataset.get("VolumeBasedCalculationTechnique"),
    )  # fmt: skip
    yield _words(dataset.get("ImageType"), *more)
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    shared = dataset.get("SharedFunctionalGroupsSequence") or ()
    for group in (*shared[:1], *per_frame):
        for sequence in _FRAME_TYPES:
            for item in group.get(sequence) or ():
                yield _words(item.get("FrameType"), item.get("ComplexImageComponent"))


def _words(*values: object) -> tuple[str, ...]:
    words: list[str] = []
    for value in values:
        parts = [value] if isinstance(value, str) else list(value or ())  # type: ignore[call-overload]
        words += (str(part).strip(" \0").upper() for part in parts)
    return tuple(words)


def _kind(dataset: Dataset, types: tuple[str, ...]) -> str | None:
    ct = dataset.get("Modality") == "CT"
    for kind, pattern in _TOKENS.items():
        if ct and kind in _MR_ONLY:
            continue
        if any(re.fullmatch(pattern, word) for word in types[2:]):
            return kind
    if str(dataset.get("SOPClassUID", "")).startswith(_CAPTURE):
        return "capture"
    unit = str(dataset.get("RescaleType", "") or "").strip(" \0").upper()
    if ct and not re.fullmatch(_HU, unit):
        return "map"
    return (
        "derived" if types[:1] in (("DERIVED",), ("MIXED",)) and not _only_lossy(dataset) else None
    )


def _only_lossy(dataset: Dataset) -> bool:
    """True if lossy compression is the only derivation (DICOM PS3.3 C.7.6.1.1.5)."""
    codes = [item.get("CodeValue") for item in dataset.get("DerivationCodeSequence") or ()]
    return str(dataset.get("LossyImageCompression", "")) == "01" and set(codes) == {_LOSSY}
