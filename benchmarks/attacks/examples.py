"""Inputs that always run: those on which readers have failed before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from attacks.arrays import header_of
from attacks.base import Case, Kinds, edited, reader
from attacks.dicom_elements import build, parse, set_element
from attacks.dicom_files import SYNTAXES
from attacks.examples_bombs import bomb_examples
from attacks.examples_hdf5 import hdf5_examples

Edit = Callable[[Path], object]

VALUES = {
    "date": "2026-13-45", "int": "!!int abc", "digits": "9" * 5000, "set": "!!set [a]",
    "flow": "[" * 10_000, "closed flow": "[" * 10_000 + "]" * 10_000,
    "block": "\n" + "\n".join(" " * (k + 1) + "a:" for k in range(2000)),
    "tag": "!!python/name:os.system",
    "float": "!!float x", "timestamp": "!!timestamp x", "loop": "&a [*a]", "key": "{[1]: 2}",
}  # fmt: skip
"""YAML that PyYAML answers with other errors than its own."""


def examples(variants: Kinds) -> dict[str, Case]:
    """All examples by name.

    Args:
        variants: the commands that read each kind.
    """
    found: dict[str, Case] = {}
    for part in (_yaml, _dicom, bomb_examples, hdf5_examples, _values, _long_work):
        found |= {name.replace(" ", "-"): case for name, case in part(variants)}
    return found


def _yaml(variants: Kinds) -> Iterator[tuple[str, Case]]:
    """Each odd value as a new key of each kind of file, and in place of its first value."""

    def added(text: str) -> Edit:
        return lambda path: path.write_text(path.read_text() + f"x: {text}\n")

    def first(text: str) -> Edit:
        def edit(path: Path) -> None:
            lines = path.read_text().splitlines()
            lines[0] = lines[0].split(":")[0] + f": {text}"
            path.write_text("\n".join(lines) + "\n")

        return edit

    for kind in ("recipe", "evaluation", "tuning", "preset", "geometry", "contract"):
        for name, text in VALUES.items():
            yield f"yaml {kind} {name}", edited(variants[kind][0], added(text))
            yield f"yaml {kind} {name} first", edited(variants[kind][0], first(text))


def _dicom(variants: Kinds) -> Iterator[tuple[str, Case]]:
    """A false number of frames in every transfer syntax, and NULs in texts."""

    def with_element(tag: int, vr: str, value: bytes) -> Edit:
        def edit(path: Path) -> None:
            parsed = parse(path.read_bytes())
            set_element(parsed, tag, vr, value)
            path.write_bytes(build(parsed))

        return edit

    for name in SYNTAXES:
        for command in ("inspect", "simulate"):
            scan = reader(variants, "dicom", f"{name}.dcm", command)
            for count in (2, 3, 30_000, 65_536, 2**31 - 1):
                frames = with_element(0x00280008, "IS", str(count).encode())
                yield f"frames {name} {count} {command}", edited(scan, frames)
    for count in (3, 5, 40_000):
        for name in ("enhanced-ct.dcm", "enhanced-mr.dcm"):
            frames = with_element(0x00280008, "IS", str(count).encode())
            yield f"frames {name} {count}", edited(reader(variants, "dicom-folder", name), frames)
    scan = reader(variants, "dicom", "explicit.dcm", "simulate")
    texts = {
        "series description": (0x0008103E, "LO", b"a\0b c"),
        "study": (0x0020000D, "UI", b"2.25\0.1\0"),
        "series": (0x0020000E, "UI", b"2.25.\0\0.1"), "instance": (0x00080018, "UI", b"2.25.01"),
        "frame": (0x00200052, "UI", b"1" * 66), "modality": (0x00080060, "CS", b"CT\0\0"),
        "patient": (0x00100010, "PN", b"a\0b^c"), "unit": (0x00281054, "LO", b"HU\0U"),
    }  # fmt: skip
    for name, (tag, vr, value) in texts.items():
        yield f"nul {name}", edited(scan, with_element(tag, vr, value))


def _values(variants: Kinds) -> Iterator[tuple[str, Case]]:
    """Arrays of types without a size."""
    for target in ("kspace.npy", "features.npy", "pictures.npy"):
        for descr, shape in (("'|S0'", "(-1,)"), ("'|V0'", "(-1,)"), ("'<U0'", "(-1,)"), ("'<f4'",
                "(-1,)"),
                             ("[('a', '|S0')]", "(-1,)"), ("'|S0'", "(2, 0)")):  # fmt: skip
            content = header_of(descr, "False", shape) + bytes(64)

            def edit(path: Path, content: bytes = content) -> None:
                path.write_bytes(content)

            yield f"npy {target} {descr} {shape}", edited(reader(variants, "npy", target), edit)


def _long_work(variants: Kinds) -> Iterator[tuple[str, Case]]:
    """Settings that mean hours of work, of which there must be a sign from the first second."""

    def line(old: str, new: str) -> Edit:
        return lambda path: path.write_text(path.read_text().replace(old, new))

    preset = variants["preset"][0]
    yield "preset of 100000 steps", edited(preset, line("steps: 1\n", "steps: 100000\n"))
    yield "preset of 2^31 steps", edited(preset, line("steps: 1\n", f"steps: {2**31}\n"))
    for kind, target in (("evaluation", "evaluation.yaml"), ("tuning", "tuning.yaml")):
        for views in (3_000_000, 2**64):
            edit = line("views: 9", f"views: {views}")
            yield f"{kind} of {views} views", edited(reader(variants, kind, target), edit)
    recipe = variants["recipe"][0]
    for steps in (8192, 2**31, 2**64):
        yield f"recipe of {steps} steps", edited(recipe, line("steps: 2\n", f"steps: {steps}\n"))
