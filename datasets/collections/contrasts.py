"""MR contrasts by the names that files give them, as classes of images."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WEIGHTED = re.compile(r"(?<![a-z0-9])(t1|t2|pd)w?(?![a-z0-9*])", re.IGNORECASE)


def contrast_of(text: str) -> str | None:
    """T1, T2, FLAIR or PD, from the name of a contrast; None if it names none of them.

    Fat suppression and the plane do not matter: ``PD-FS axial`` is PD. An inversion-recovery
    ``T2-FLAIR`` is FLAIR. ``T2*`` and quantitative maps such as ``T1rho`` are none of them.

    Args:
        text: name of the contrast, or a description of the series.
    """
    if "flair" in text.lower():
        return "FLAIR"
    found = {match.upper() for match in _WEIGHTED.findall(text)}
    return found.pop() if len(found) == 1 else None


def class_number(text: str | None, classes: Sequence[str]) -> int:
    """The number of the class of a contrast, from 1; 0 for one that is not among the classes.

    Args:
        text: name of the contrast; None if it is not known.
        classes: names of the classes.
    """
    if text is None:
        return 0
    if text in classes:
        return classes.index(text) + 1
    found = contrast_of(text)
    return classes.index(found) + 1 if found in classes else 0
