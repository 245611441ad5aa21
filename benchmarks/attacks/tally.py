"""Running many inputs, counting what came of them, and keeping those that fail."""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from attacks import command
from attacks.base import Case, Input, Variant, attacked, choose

CHUNK = 50
"""Inputs that a process gets at a time."""


@dataclass(frozen=True)
class Failure:
    """An input on which a command failed.

    Attributes:
        name: name of the input.
        argv: the command.
        change: what was changed.
        fault: what happened.
    """

    name: str
    argv: tuple[str, ...]
    change: str
    fault: str


@dataclass
class Tally:
    """The outcomes of one kind.

    Attributes:
        outcomes: number of inputs by outcome.
        failures: the failed inputs.
        seconds: CPU time of all commands.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The tally for JSON."""
        return {
            "outcomes": dict(self.outcomes), "seconds": round(self.seconds, 3),
            "failures": [asdict(failure) for failure in self.failures],
        }  # fmt: skip

    @staticmethod
    def from_json(record: dict[str, Any]) -> Tally:
        """The tally of :meth:`to_json`.

        Args:
            record: what it returned.
        """
        failures = [Failure(**failure) for failure in record["failures"]]
        return Tally(Counter(record["outcomes"]), failures, record["seconds"])

    def add(self, other: Tally) -> None:
        """Add the outcomes of further inputs.

        Args:
            other: their tally.
        """
        self.outcomes += other.outcomes
        self.failures += other.failures
        self.seconds += other.seconds


def mutant(variants: Sequence[Variant], kind: str, number: int, seed: int) -> Case:
    """The input of a kind with a number.

    Args:
        variants: the commands that read the kind.
        kind: name of the kind.
        number: number of the input.
        seed: seed of all changes.
    """

    def write(folder: Path) -> Input:
        rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), number])
        return attacked(choose(variants, rng), folder, rng)

    return write


def attempt(name: str, case: Case, kept: Path, tally: Tally) -> None:
    """Run the command of an input; if it fails, write the input again into a folder.

    Args:
        name: name of the input.
        case: the input.
        kept: folder of the failed inputs.
        tally: what to add the outcome to.
    """
    folder = Path(tempfile.mkdtemp(prefix="medscore-attack-"))
    try:
        made = case(folder)
        outcome = command.run(made.argv, folder, made.size)
    except Exception:  # a fault of a change; the other inputs are tried all the same
        last = traceback.format_exc().strip().splitlines()[-1]
        tally.outcomes["not made"] += 1
        tally.failures.append(Failure(name, (), "", f"not made: {last}"))
        return
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tally.seconds += outcome.seconds
    tally.outcomes[outcome.name.split(":")[0]] += 1
    if outcome.fault:
        copy = kept / name
        copy.mkdir()
        case(copy)
        (copy / "command.txt").write_text(
            "medscore " + " ".join(made.argv) + "\n", errors="replace"
        )
        (copy / "stderr.txt").write_text(outcome.said)
        tally.failures.append(Failure(name, made.argv, made.change, outcome.fault))


def attack(
    variants: dict[str, list[Variant]],
    examples: dict[str, Case],
    count: int,
    seed: int,
    kept: Path,
    jobs: int,
) -> Iterator[tuple[str, Tally]]:
    """Run ``count`` inputs of every kind, and all examples; yields tallies of parts of kinds.

    Args:
        variants: the commands that read each kind.
        examples: inputs that always run, by name.
        count: number of inputs of each kind.
        seed: seed of all changes.
        kept: folder of the failed inputs.
        jobs: number of processes.
    """
    work: list[tuple[str, list[str] | range]] = [
        (kind, range(start, min(start + CHUNK, count)))
        for kind in variants
        for start in range(0, count, CHUNK)
    ]
    names = list(examples)
    work = [("examples", names[k : k + 5]) for k in range(0, len(names), 5)] + work
    run = partial(_part, variants, examples, seed, kept)
    global _RUN
    _RUN = run
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(_call, work)


_RUN: Callable[[tuple[str, list[str] | range]], tuple[str, Tally]]
"""What the forked processes run; functions within functions cannot be sent to them."""


def _call(part: tuple[str, list[str] | range]) -> tuple[str, Tally]:
    return _RUN(part)


def _part(
    variants: dict[str, list[Variant]], examples: dict[str, Case], seed: int, kept: Path,
    part: tuple[str, list[str] | range],
) -> tuple[str, Tally]:  # fmt: skip
    kind, inputs = part
    tally = Tally()
    for one in inputs:
        if isinstance(one, str):
            attempt(f"example-{one}", examples[one], kept, tally)
        else:
            case = mutant(variants[kind], kind, one, seed)
            attempt(f"{kind}-{one:05d}", case, kept, tally)
    return kind, tally
