"""The one error class a user meets: what is wrong, where, and the mend, on one line."""

from __future__ import annotations

from pathlib import Path


class MedscoreError(Exception):
    """Bad input at a boundary (file, configuration, command line, prior/operator compatibility).

    Args:
        what: what is wrong, with the offending value.
        where: the file or field it was found in.
        mend: what the user can do about it.
    """

    def __init__(self, what: str, *, where: str | Path | None = None, mend: str = "") -> None:
        self.what, self.where, self.mend = what, where, mend
        place = f"{where}: " if where is not None else ""
        remedy = f" - {mend}" if mend else ""
        super().__init__(" ".join(f"{place}{what}{remedy}".split()))
