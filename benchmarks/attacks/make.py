"""From the words of a command to the files that it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from attacks.base import Mutator, Variant

Files = Mapping[str, Path]

REFERS = {
    "classifier.yaml": ("colour.safetensors",), "dequantizer.yaml": ("ct.safetensors",),
    "evaluation.yaml": ("ct.safetensors",), "kspace.cfl": ("kspace.hdr",),
}  # fmt: skip
"""Files that a file refers to by name."""


class Make:
    """Makes variants from the words of their commands.

    Args:
        files: all valid files by name.
    """

    def __init__(self, files: Files) -> None:
        self.files = files

    def __call__(
        self,
        target: str,
        mutators: Sequence[Mutator],
        *argv: str,
        weight: int = 1,
        arrays: int = 2**16,
        honest: int = 0,
        out: Mapping[str, str] = {},
        inside: str = "",
    ) -> Variant:
        """A variant; ``in/NAME`` in the words brings the file NAME, and what it refers to.

        Args:
            target: file to change.
            mutators: the changes.
            argv: the words.
            weight: relative number of inputs.
            arrays: bytes of the arrays in the files.
            honest: exit code for the valid files; None for any.
            out: files below ``out`` by their name there.
            inside: path of the file to change in the folder ``target``.
        """
        names = [target, *(word[3:] for word in argv if word.startswith("in/"))]
        for name in list(names):
            names += REFERS.get(name, ())
        brought = {f"in/{name}": self.files[name] for name in names if name in self.files}
        brought |= {f"out/{place}": self.files[name] for place, name in out.items()}
        whole = f"out/{target}" if out else f"in/{target}"
        return Variant(
            argv, brought, f"{whole}/{inside}" if inside else whole, tuple(mutators), weight,
            arrays,
            honest,
        )  # fmt: skip
