"""Which patient a file belongs to that does not say so itself, by its name and its folders.

The rules keep a patient together: where a name may mean a visit, a contrast or a copy, it does.
In the order of their use:

1. BIDS: ``sub-XX`` in the name of the file, or of a folder that it lies in.
2. The name without what tells the scans of a patient apart: contrast, visit, date, plane, copy.
   ``p1_t1.nii.gz``, ``p1_visit2.nii.gz`` and ``p1 (2).nii.gz`` are of ``p1``.
3. The folder, if nothing is left of the name (``p1/t1.nii.gz``, ``p1/scan2.nii.gz``), if other
   folders hold files of the same name, or if the name has no number and other folders hold images.
   Folders such as ``ses-1``, ``anat``, ``train`` or ``nifti`` are passed over.
"""

from __future__ import annotations

import glob
import os
import re
from itertools import islice
from pathlib import Path

MANY = 10
"""A folder of more numbered files of one name, as ``volume-12``, is a collection, no patient."""

_BIDS = re.compile(r"(?:^|[\s_])(sub-[A-Za-z0-9]+)")
_CONTRAST = (
    r"t1(w|n|c|ce|gd|post|rho)?|t2(w|f|fs|star)?|t1map|t2map|flair|pdw?|dwi|adc|dti|swi|mra|bold|"
    r"asl|cta?|petct|pet|mri?|mp2?rage|memprage|spgr|gre|tse|fse|epi|angio"
)
_STATE = (
    r"ax(ial)?|sag(ittal)?|cor(onal)?|pre|post|native|contrast|defaced|brain|bet|masked|reg|"
    r"registered|resampled|norm|n4|image|img|anat|baseline|follow-?up|copy|\(copy\)|\(\d+\)"
)
_VISIT = (
    r"ses|session|visit|timepoint|tp|day|week|month|year|scan|series|study|exam|run|echo|acq|rec|"
    r"part|slice|im|img|image|vol|volume|follow-?up|copy"
)
_SLICE = re.compile(r"(slice|im|img|image)\W*", re.IGNORECASE)
_DATE = r"(19|20)\d\d[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])"
_TAIL = re.compile(
    rf"(^|[\s_.\-]+)({_CONTRAST}|(ct|mri?|t1w?|t2w?)\d{{1,2}}|{_STATE}|({_VISIT})[\s_.\-]*[0-9]+|({_VISIT})|{_DATE}|\d+mm)$",
    re.IGNORECASE,
)
_PASSED_OVER = re.compile(
    rf"({_CONTRAST}|{_STATE}|({_VISIT})[\s_.\-]*\w*|{_DATE}|func|fmap|perf|dicoms?|dcm|"
    r"nii|niftis?|images?(tr|ts|va)?|labels?(tr|ts)?|data|raw(data)?|derivatives|train(ing)?|"
    r"val(idation)?|test(ing)?|[0-9.]{20,})",
    re.IGNORECASE,
)
_CHANNEL = re.compile(r"_000\d$")  # nnU-Net's imagesTr/case_12_0000.nii.gz
_ENDINGS = (".nii.gz", ".nrrd.gz", ".mha.gz")


def stem_of(name: str) -> str:
    """The name of a file without its ending.

    Args:
        name: name of the file.
    """
    for ending in _ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return Path(name).stem


def subject_of(path: Path, root: Path) -> str:
    """The name of the patient that an image is of.

    A symbolic link means the file that it leads to, unless that has another kind of name, as in the
    store of git-annex.

    Args:
        path: file of the image.
        root: data folder; only the folders between it and the file tell patients apart.
    """
    bids = _bids(path, root)
    if bids:
        return bids
    real = Path(os.path.realpath(path))  # a loop of links stays as it is
    if real.suffix == path.suffix and "annex" not in real.parts:
        path, root = real, root.resolve()
    inside = path.is_relative_to(root)
    return _bids(path, root) or _named(path, root if inside else Path(path.anchor), inside)


def folder_of(path: Path, root: Path) -> Path | None:
    """The innermost folder of a file that may be that of a patient; None if there is none.

    Args:
        path: the file.
        root: data folder, which is no patient's.
    """
    if not path.is_relative_to(root):
        return None
    for folder in path.parents:
        if folder == root:
            return None
        if not _PASSED_OVER.fullmatch(folder.name):
            return folder
    return None


def _bids(path: Path, root: Path) -> str | None:
    parts = path.relative_to(root).parts if path.is_relative_to(root) else path.parts
    hits = (_BIDS.search(part) for part in reversed(parts))
    return next((hit[1] for hit in hits if hit), None)


def _named(path: Path, root: Path, inside: bool) -> str:
    """The patient by rules 2 and 3."""
    stem = stem_of(path.name)
    base = _CHANNEL.sub("", stem) if path.parent.name.startswith("images") else stem
    while hit := _TAIL.search(base):
        base = base[: hit.start()]
    folder = folder_of(path, root)
    if folder is None:
        return base or stem
    if not base:
        return folder.name if _is_patients(path, folder) else stem
    if not inside:
        return base
    if _elsewhere(path, folder, glob.escape(path.name)):
        return folder.name
    unnumbered = re.search(r"\d", base) is None
    return folder.name if unnumbered and _elsewhere(path, folder, f"*{path.suffix}") else base


def _is_patients(path: Path, folder: Path) -> bool:
    """False for a folder of many files that are named alike, unless they are single slices."""
    like = (re.match(r"\D*", stem_of(path.name)) or [""])[0] or stem_of(path.name)
    pattern = f"{glob.escape(like)}*"
    few = len(list(islice(path.parent.glob(pattern), MANY + 1))) <= MANY
    return few or (_SLICE.fullmatch(like) is not None and _elsewhere(path, folder, pattern))


def _elsewhere(path: Path, folder: Path, pattern: str) -> bool:
    """True if a neighbour of a patient's folder holds a file of this pattern in the same place."""
    between = [glob.escape(part) for part in path.relative_to(folder).parts[:-1]]
    found = folder.parent.glob("/".join(["*", *between, pattern]))
    return any(folder not in other.parents for other in found)
