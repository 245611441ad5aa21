"""Fuzzing of all readers: files with flipped bits, truncated files, and files with false headers.

    python benchmarks/fuzz.py                 # 2,000 mutants of all formats
    python benchmarks/fuzz.py --count 200 --seed 7

Each mutant is read in a process of its own. It must be read, or rejected with a one-line medscore
error. Everything else is a failure: any other exception, a crash of the interpreter, more than 10
seconds, more memory than 4 times the size of the valid file with its arrays plus 48 MiB for the
readers' libraries, or a file written anywhere. The exit code is then 1, and the failed mutants are
kept in the folder that is printed. Needs no data.
"""

from __future__ import annotations

import argparse
import os
import resource
import select
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from fuzz_corpus import SeedFile, seed_files

from medscore.errors import MedscoreError

SECONDS = 10.0
"""Time limit of a reader."""

TIMES = 4
"""Memory that a reader may take, relative to the size of the file with its arrays."""

SLACK = 48 * 2**20
"""Bytes that a reader's libraries may take in addition."""


def flip_bits(content: bytearray, rng: np.random.Generator) -> None:
    """Flip 1 to 64 bits, half of the time in the first kilobyte, where headers are.

    Args:
        content: the bytes to change.
        rng: source of the random draws.
    """
    end = len(content) if rng.random() < 0.5 else min(1024, len(content))
    for place in rng.integers(0, end, rng.integers(1, 65)):
        content[place] ^= 1 << int(rng.integers(8))


def truncate(content: bytearray, rng: np.random.Generator) -> None:
    """Cut the file at a random length.

    Args:
        content: the bytes to change.
        rng: source of the random draws.
    """
    del content[int(rng.integers(0, len(content))) :]


def extreme_values(content: bytearray, rng: np.random.Generator) -> None:
    """Replace numbers of 2, 4 or 8 bytes by extreme values.

    Args:
        content: the bytes to change.
        rng: source of the random draws.
    """
    for _ in range(int(rng.integers(1, 5))):
        width = int(rng.choice([2, 4, 8]))
        end = len(content) if rng.random() < 0.3 else min(1024, len(content))
        place = int(rng.integers(0, max(1, end - width)))
        value = [b"\xff", b"\x00", b"\x7f"][int(rng.integers(3))]
        content[place : place + width] = value * width


def splice(content: bytearray, rng: np.random.Generator) -> None:
    """Copy a random piece over another.

    Args:
        content: the bytes to change.
        rng: source of the random draws.
    """
    size = int(rng.integers(1, max(2, len(content) // 4)))
    a, b = (int(rng.integers(0, max(1, len(content) - size))) for _ in range(2))
    content[a : a + size] = content[b : b + size]


def enlarge(content: bytearray, rng: np.random.Generator) -> None:
    """Enlarge a number that occurs several times, such as a matrix size or a count.

    Args:
        content: the bytes to change.
        rng: source of the random draws.
    """
    width = int(rng.choice([2, 4, 8]))
    place = int(rng.integers(0, max(1, min(2048, len(content)) - width)))
    old = bytes(content[place : place + width])
    new = int(rng.integers(1, 2**15)).to_bytes(2, "little").ljust(width, b"\x00")[:width]
    if any(old):
        content[:] = content.replace(old, new, 8)


MUTATIONS = (flip_bits, truncate, extreme_values, splice, enlarge)


def mutant(seed: SeedFile, rng: np.random.Generator) -> tuple[str, bytes]:
    """Corrupt a file.

    Args:
        seed: the valid file.
        rng: source of the random draws.

    Returns:
        The name of the mutation, and the bytes of the mutant.
    """
    content = bytearray(seed.content)
    mutation = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
    mutation(content, rng)
    return mutation.__name__, bytes(content)


def attempt(seed: SeedFile, path: Path) -> tuple[str, int]:
    """Read a file in a child process.

    Args:
        seed: the valid file, whose reader is used.
        path: the file to read.

    Returns:
        ``read``, ``refused`` or the fault, and the memory that reading took in bytes.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(seed, path, writer)
    os.close(writer)
    said = b""
    if select.select([reader], [], [], SECONDS)[0]:
        said = os.read(reader, 4096)
    os.close(reader)
    if not said:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not said:
        died = os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL
        return "crash" if died else f"more than {SECONDS:g} s, or no answer", 0
    outcome, _, taken = said.decode().partition("\n")
    return outcome, int(taken or 0)


def _child(seed: SeedFile, path: Path, writer: int) -> None:
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    before = _peak()
    try:
        warnings.simplefilter("ignore")
        seed.read(path)
        outcome = "read"
    except MedscoreError as error:
        lines = str(error).splitlines()
        outcome = "refused" if len(lines) == 1 else f"{len(lines)} lines of error"
    except BaseException as error:
        outcome = f"{type(error).__name__}: {str(error)[:200]}".replace("\n", " ")
    os.write(writer, f"{outcome}\n{_peak() - before}".encode())
    os._exit(0)


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def fault(seed: SeedFile, outcome: str, taken: int, size: int) -> str | None:
    """The fault of an attempt; ``None`` if there is none.

    Args:
        seed: the valid file.
        outcome: the outcome of :func:`attempt`.
        taken: the memory that it took in bytes.
        size: bytes of the mutant.
    """
    if outcome not in ("read", "refused"):
        return outcome
    allowed = TIMES * max(seed.size, size) + SLACK
    if taken > allowed:
        return f"took {taken / 2**20:.0f} MiB, allowed are {allowed / 2**20:.0f}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="number of mutants")
    parser.add_argument("--seed", type=int, default=0, help="seed of the mutations")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(args.seed)
    kept = Path(tempfile.mkdtemp(prefix="medscore-fuzz-"))
    start, outcomes, failures = time.perf_counter(), Counter[str](), 0
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory() as work:
        seeds = seed_files(Path(made))
        for seed in seeds:  # valid files must be read; this also loads the libraries
            path = Path(work) / seed.name
            path.write_bytes(seed.content)
            outcome, _ = attempt(seed, path)
            if outcome != "read":
                raise SystemExit(f"{seed.name}, unchanged: {outcome}")
            path.unlink()
        for number in range(args.count):
            seed = seeds[number % len(seeds)]
            mutation, content = mutant(seed, rng)
            path = Path(work) / seed.name
            path.write_bytes(content)
            outcome, taken = attempt(seed, path)
            wrong = fault(seed, outcome, taken, len(content))
            strangers = {p.name for p in Path(work).iterdir()} - {path.name}
            if strangers:
                wrong = f"wrote {', '.join(sorted(strangers))}"
            if wrong is not None:
                failures += 1
                (kept / f"{number:05d}-{seed.name}").write_bytes(content)
                print(f"{number} {seed.name} {mutation}: {wrong}", flush=True)
            outcomes[outcome if wrong is None else "failed"] += 1
            path.unlink()
    seconds = time.perf_counter() - start
    summary = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
    print(f"{args.count} mutants of {len(seeds)} files in {seconds:.0f} s: {summary}")
    if failures:
        print(f"failed mutants are kept in {kept}")
    else:
        kept.rmdir()
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
