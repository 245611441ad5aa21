"""Kills and full disks: long commands are ended at random moments, and repeated until they finish.

Half of the kills strike at a change of a file (launcher.py), before, in the middle of or after it;
the others at a random time. Disks fill by an error at a random change of a file, and for real on a
small tmpfs, where one can be mounted, which is enlarged before the command is repeated.

    python benchmarks/kills.py --check --page docs/benchmarks/kills.md
    python benchmarks/kills.py --count 20
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from kill_cases import Case, cases, results
from launcher import WHEN, Ended, Fate, warm
from number import Number, exit_code, machine, show

INTRO = Path(__file__).with_name("kills_intro.md")

PAGE = 4096
"""Bytes; a tmpfs grows by pages."""


@dataclass
class Tally:
    """What was found for one command.

    Attributes:
        runs: number of runs that were struck.
        struck: number of runs that did not end by themselves before.
        different: runs whose results differ from those of an uninterrupted run.
        lost: largest number of pieces of work that were done again because of one kill.
        over: runs that did more work again than the interval between two saves.
        left: runs after which anything but the results is left.
        wrong: runs that ended in another way than they should, with what they printed.
    """

    runs: int = 0
    struck: int = 0
    different: int = 0
    lost: int = 0
    over: int = 0
    left: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Whole:
    """An uninterrupted run.

    Attributes:
        ended: how it ended.
        results: its results.
    """

    ended: Ended
    results: dict[str, object]

    @classmethod
    def of(cls, case: Case, folder: Path) -> Whole:
        """Run a case.

        Args:
            case: the case.
            folder: folder for the output.
        """
        folder.mkdir()
        ended = case.run(folder, folder.with_suffix(".txt"))
        if ended.code != 0:
            raise RuntimeError(f"{case.name} does not run: {ended.said}")
        return cls(ended, results(folder))


def struck(case: Case, whole: Whole, folder: Path, fates: list[Fate], tally: Tally) -> None:
    """Strike a command, repeat it until it ends, and judge the outcome.

    Args:
        case: the command.
        whole: its uninterrupted run.
        folder: a new folder.
        fates: the fates of the first runs.
        tally: is added to.
    """
    folder.mkdir(exist_ok=True)
    said = folder.with_suffix(".txt")
    parts = []
    for fate in fates:
        parts.append(case.run(folder, said, fate=fate))
        _judge_end(case, fate, parts[-1], folder, tally)
    parts.append(case.run(folder, said))
    _judge_result(case, whole, folder, parts, tally, fates)


def _judge_end(case: Case, fate: Fate, ended: Ended, folder: Path, tally: Tally) -> None:
    tally.runs += 1
    tally.struck += ended.code != 0
    if not fate.full:
        if ended.code not in (0, -9) and "exists already" not in ended.said:
            tally.wrong.append(f"{case.name}, {fate}: {ended.said}")
        return
    lines = [line for line in ended.said.splitlines() if line.startswith("error: ")]
    if ended.code not in (0, 2) or (ended.code == 2 and (len(lines) != 1 or "Trace" in ended.said)):
        tally.wrong.append(f"{case.name}, {fate}: {ended.code} {ended.said}")
    if left := _unfinished(case, folder):
        tally.left += 1
        tally.wrong.append(f"{case.name}, {fate}: left {left}")


def _unfinished(case: Case, folder: Path) -> list[str]:
    """What a failed run should not have left behind: parts, locks, folders without a result."""
    names = [str(p.relative_to(folder)) for p in folder.rglob("*")]
    bad = [n for n in names if ".part-" in n or n.endswith(".lock")]
    useful = ("state.safetensors", "cells/", "study.db", ".resume/")
    if names and not any(word in name for name in names for word in useful):
        bad += [] if (folder / case.output).exists() and not case.keeps else names
    return bad


def _judge_result(
    case: Case, whole: Whole, folder: Path, parts: list[Ended], tally: Tally, fates: list[Fate]
) -> None:
    last = parts[-1]
    if last.code != 0 and "exists already" not in last.said:
        tally.wrong.append(f"{case.name}: the repeated run ends with {last.code}: {last.said}")
    found = results(folder)
    if extra := sorted(set(found) - set(whole.results)):
        tally.left += 1
        tally.wrong.append(f"{case.name}, {fates}: left {extra}")
    same = {name for name, value in whole.results.items() if found.get(name) == value}
    if differing := sorted(set(whole.results) - same):
        tally.different += 1
        tally.wrong.append(f"{case.name}, {fates}: differs in {differing}")
    again = sum(part.units for part in parts) - whole.ended.units
    each = -(-again // len(fates))
    tally.lost = max(tally.lost, each)
    tally.over += each > case.lost


def kills(case: Case, whole: Whole, folder: Path, count: int, draw: random.Random) -> Tally:
    """Kill a command at random moments; every fourth time twice.

    Args:
        case: the command.
        whole: its uninterrupted run.
        folder: folder for the outputs.
        count: number of kills.
        draw: draws the moments.
    """
    tally = Tally()
    while tally.runs < count:
        fates = []
        for _ in range(2 if draw.random() < 0.25 else 1):
            if draw.random() < 0.5:
                fates.append(Fate(draw.randint(1, whole.ended.changes), draw.choice(WHEN)))
            else:
                fates.append(Fate(seconds=draw.uniform(0, whole.ended.seconds)))
        with _new(folder / "kill") as place:
            struck(case, whole, place, fates, tally)
    return tally


def full_disks(case: Case, whole: Whole, folder: Path, count: int, draw: random.Random) -> Tally:
    """Fill the disk at random changes of files.

    Args:
        case: the command.
        whole: its uninterrupted run.
        folder: folder for the outputs.
        count: number of full disks.
        draw: draws the moments.
    """
    tally = Tally()
    for _ in range(count):
        fate = Fate(draw.randint(1, whole.ended.changes), draw.choice(WHEN[:2]), full=True)
        with _new(folder / "full") as place:
            struck(case, whole, place, [fate], tally)
    return tally


def small_disks(case: Case, whole: Whole, folder: Path, count: int, draw: random.Random) -> Tally:
    """Run a command on disks that are too small, and again after they were enlarged.

    Args:
        case: the command.
        whole: its uninterrupted run.
        folder: folder for the outputs.
        count: number of disks.
        draw: draws their sizes.
    """
    tally, said = Tally(), folder / "small.txt"
    enough = _smallest(lambda size: _on_disk(case, folder, said, size))
    for _ in range(count):
        size = PAGE * draw.randint(1, max(1, enough // PAGE - 1))
        with _disk(folder / "small", size) as (place, enlarge):
            first = case.run(place, said)
            fate = Fate(full=True)
            _judge_end(case, fate, first, place, tally)
            enlarge()
            last = case.run(place, said)
            _judge_result(case, whole, place, [first, last], tally, [fate])
    return tally


def _on_disk(case: Case, folder: Path, said: Path, size: int) -> bool:
    with _disk(folder / "size", size) as (place, _):
        return case.run(place, said).code == 0


def _smallest(fits: Callable[[int], bool]) -> int:
    """The smallest number of bytes that fits, to a factor of two."""
    size = 4 * PAGE
    while not fits(size):
        size *= 2
    return size


@contextmanager
def _new(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def _disk(folder: Path, size: int) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A tmpfs of a number of bytes, and a function that enlarges it."""
    with _new(folder):
        options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        subprocess.run(["mount", *options], check=True, capture_output=True)
        try:
            larger = ["mount", "-o", "remount,size=64m", str(folder)]
            yield folder, lambda: subprocess.run(larger, check=True) and None
        finally:
            subprocess.run(["umount", str(folder)], check=True)


def can_mount() -> bool:
    """Whether a tmpfs can be mounted here."""
    try:
        with tempfile.TemporaryDirectory() as name, _disk(Path(name) / "try", PAGE):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def numbers(name: str, tally: Tally) -> Iterator[Number]:
    """The rows of a tally.

    Args:
        name: what happened to which command.
        tally: what was found.
    """
    yield Number(f"{name}: runs", tally.runs)
    yield Number(f"{name}: of these, ended by it", tally.struck)
    yield Number(f"{name}: other results than uninterrupted", tally.different, at_most=0)
    yield Number(f"{name}: more work done again than one interval", tally.over, at_most=0)
    yield Number(f"{name}: something left over", tally.left, at_most=0)
    yield Number(f"{name}: wrong end, traceback, or any of these", len(tally.wrong), at_most=0)


def page(found: list[tuple[Case, str, Tally]], command: str) -> str:
    """The page of the documentation.

    Args:
        found: what happened to which command, and what was found.
        command: the command that made it.
    """
    rows = [
        f"| {case.name} | {what} | {t.runs} | {t.struck} | {t.different} | {t.lost} of {case.lost} "
        f"{case.piece} | {t.over} | {t.left} | {len(t.wrong)} |"
        for case, what, t in found
    ]
    return "\n".join(
        (INTRO.read_text().format(command=command, machine=machine()).rstrip(), *rows, "")
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--count", type=int, default=300, help="number of kills; half as many disks"
    )
    parser.add_argument("--only", action="append", help="a command, instead of all; repeatable")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--no-mount", action="store_true", help="mount no tmpfs")
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    parser.add_argument("--page", type=Path, help="page of the documentation to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warm()
    found: list[Number] = []
    every: list[tuple[Case, str, Tally]] = []
    with tempfile.TemporaryDirectory() as name:
        data, work = Path(name) / "data", Path(name) / "work"
        data.mkdir()
        work.mkdir()
        chosen = [c for c in cases(data) if not args.only or c.name in args.only]
        mounts = not args.no_mount and can_mount()
        for case in chosen:
            draw = random.Random(f"{args.seed} {case.name}")
            whole = Whole.of(case, work / "whole")
            each = -(-args.count // len(chosen))
            tallies = {"kill -9": kills(case, whole, work, each, draw)}
            tallies["disk full"] = full_disks(case, whole, work, -(-each // 4), draw)
            if mounts:
                tallies["small tmpfs"] = small_disks(case, whole, work, -(-each // 4), draw)
            for what, tally in tallies.items():
                every.append((case, what, tally))
                found += show(numbers(f"{case.name}, {what}", tally))
                for text in tally.wrong:
                    print(f"    {text}")
            shutil.rmtree(work / "whole")
    if args.page:
        args.page.write_text(page(every, f"python benchmarks/kills.py --count {args.count}"))
    return exit_code(found, check=args.check)


if __name__ == "__main__":
    raise SystemExit(main())
