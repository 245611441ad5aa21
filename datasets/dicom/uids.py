"""Unique identifiers of DICOM, of which some files hold an invalid form."""

from __future__ import annotations

import hashlib

import pydicom
from pydicom.uid import UID


def is_valid(uid: str) -> bool:
    """True for numbers without leading zeros, separated by dots, of 64 characters at most
    (DICOM PS3.5 9.1).

    Args:
        uid: the identifier.
    """
    return UID(uid, validation_mode=pydicom.config.IGNORE).is_valid and uid.isprintable()


def valid(uid: object) -> str:
    """A valid identifier: itself, or one made from its hash (DICOM PS3.5 B.2).

    Args:
        uid: an identifier as a file holds it.
    """
    text = str(uid).strip(" \0")
    if not text or is_valid(text):
        return text
    return f"2.25.{int(hashlib.sha256(text.encode()).hexdigest()[:32], 16)}"
