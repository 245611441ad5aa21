"""Structure-aware attacks on every kind of file that a command reads.

Each input is a valid file with a change: of its bytes, or of its structure, with checksums that fit
again. The command that reads it runs as a user would type it, in a process of its own. It must end
with exit code 0, or with exit code 2 and one line on standard error. Everything else is a failure:
a crash, a traceback, more than 10 seconds, memory beyond 4 times the honest size and 1 GiB, a file
written or a program started outside the output folder, a refusal of several lines, another code.

    python benchmarks/attack.py --check                       # 2,000 inputs of every kind
    python benchmarks/attack.py --kind dicom --count 200 --seed 7
    python benchmarks/attack.py --check --page docs/benchmarks/attack.md
    python benchmarks/attack.py --parts FOLDER                # can be interrupted and resumed

With ``--parts`` the outcomes of each finished kind are kept in FOLDER/KIND.json, and kinds of which
it has as many inputs of the same seed are not attacked again. To attack a kind anew, after a change
of the code that reads it, remove its file.

Failed inputs are kept in the folder that is printed, with their commands. Needs no data. On Linux.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process that is forked must have no threads

import argparse
import gc
import importlib
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import typer
from attacks import command, corpus, made
from attacks.base import Variant, honest
from attacks.examples import examples
from attacks.kinds import kinds
from attacks.paths import paths
from attacks.tally import Failure, Tally, attack
from number import Number, exit_code, machine, show, table, to_json

import medscore.cli.app
from medscore.io.files import atomic_write

FAULTS = {
    "crash": "crashes", "hang": "hangs (> 10 s)", "traceback": "tracebacks",
    "memory": "peak memory > 4x honest size + 1 GiB", "writes outside": "writes outside",
    "refusal of": "refusals of more than one line", "exit code": "other exit codes",
    "not made": "inputs that could not be made",
}  # fmt: skip
"""Beginnings of the faults that attacks.command names, and their rows of the table."""


def warm_up(variants: dict[str, list[Variant]]) -> Tally:
    """Run every command on its valid files, and import what it imported.

    Args:
        variants: the commands that read each kind.

    Returns:
        The outcomes; a command that does not read its valid files has failed.
    """
    tally, modules, done_before = Tally(), set[str](), set[tuple[str, ...]]()
    for name, some in variants.items():
        for variant in some:
            if variant.argv in done_before:
                continue
            done_before.add(variant.argv)
            with tempfile.TemporaryDirectory(prefix="medscore-attack-") as folder:
                valid = honest(variant, Path(folder))
                done = command.run(valid.argv, Path(folder), valid.size, modules=True)
            modules |= set(done.modules)
            fault = done.fault
            if not fault and variant.honest not in (None, done.code):
                fault = f"exit code {done.code}, not {variant.honest}: {done.said.strip()}"
            tally.seconds += done.seconds
            tally.outcomes[fault.split(":")[0] if fault else done.name] += 1
            if fault:
                words = "medscore " + " ".join(valid.argv)
                tally.failures.append(Failure(f"{name}, unchanged", valid.argv, words, fault))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in sorted(modules - set(sys.modules)):
            try:
                importlib.import_module(module)
            except Exception:  # a module that only exists within another
                continue
    gc.collect()
    gc.freeze()
    return tally


def keep_command_line() -> None:
    """Build the command line once, and not again in every process, which is most of their time."""
    kept = typer.main.get_command(medscore.cli.app.app)
    build = typer.main.get_command
    typer.main.get_command = lambda app: kept if app is medscore.cli.app.app else build(app)


def numbers(tallies: dict[str, Tally]) -> Iterator[Number]:
    """The rows of the table: all inputs, then each class of failure.

    Args:
        tallies: outcomes by kind.
    """
    total = Tally()
    for tally in tallies.values():
        total.add(tally)
    yield Number("inputs", total.outcomes.total())
    yield Number("read", total.outcomes["read"])
    yield Number("refused with one line", total.outcomes["refused"])
    yield Number("stopped while it showed its progress", total.outcomes["working"])
    for begins, name in FAULTS.items():
        found = sum(n for fault, n in total.outcomes.items() if fault.startswith(begins))
        yield Number(name, found, at_most=0)


def by_kind(tallies: dict[str, Tally]) -> list[str]:
    """A Markdown table with a row for each kind.

    Args:
        tallies: outcomes by kind.
    """
    lines = [
        "| kind | inputs | read | refused | failed | ms each |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for kind, tally in tallies.items():
        count, read, refused = (
            tally.outcomes.total(),
            tally.outcomes["read"],
            tally.outcomes["refused"],
        )
        each = 1000 * tally.seconds / max(1, count)
        lines.append(
            f"| {kind} | {count} | {read} | {refused} | {len(tally.failures)} | {each:.0f} |"
        )
    return lines


def page(rows: list[Number], tallies: dict[str, Tally], count: int, seed: int) -> str:
    """The page of the documentation.

    Args:
        rows: all numbers.
        tallies: outcomes by kind.
        count: inputs of each kind.
        seed: seed of the changes.
    """
    assert __doc__ is not None
    about = __doc__.split("\n\n")[1].replace("\n", " ")
    command_line = f"python benchmarks/attack.py --count {count} --seed {seed} --check --page PAGE"
    parts = [
        "# Damaged and hostile files", about, "\n".join(table(rows)),
        "Every kind of file has a few commands that read it; an input belongs to one of them.",
        "\n".join(by_kind(tallies)), f"Written by `{command_line}` on {machine()}.",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def finished(folder: Path, count: int, seed: int) -> dict[str, Tally]:
    """The kinds that were attacked already, by name.

    Args:
        folder: folder of :func:`keep`.
        count: inputs of each kind.
        seed: seed of the changes.
    """
    found = {}
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text())
        if (record["count"], record["seed"]) == (count, seed):
            found[path.stem] = Tally.from_json(record)
    return found


def keep(path: Path, tally: Tally, count: int, seed: int) -> None:
    """Write the outcomes of a kind.

    Args:
        path: file to write.
        tally: the outcomes.
        count: inputs of each kind.
        seed: seed of the changes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"count": count, "seed": seed} | tally.to_json()
    atomic_write(path, (json.dumps(record, indent=1) + "\n").encode())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="number of inputs of each kind")
    parser.add_argument("--kind", action="append", help="only this kind, or `examples`; repeatable")
    parser.add_argument("--seed", type=int, default=0, help="seed of the changes")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes")
    parser.add_argument("--check", action="store_true", help="exit 1 if an input fails")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    parser.add_argument("--parts", type=Path, help="folder that keeps finished kinds")
    parser.add_argument("--page", type=Path, help="Markdown file to write")
    args = parser.parse_args()
    sys.dont_write_bytecode = True
    keep_command_line()
    start, tallies = time.perf_counter(), dict[str, Tally]()
    kept = Path(tempfile.mkdtemp(prefix="medscore-attacked-"))
    with tempfile.TemporaryDirectory(prefix="medscore-corpus-") as base:
        os.environ["MEDSCORE_CACHE"] = os.environ["MPLCONFIGDIR"] = base
        files, folder = corpus.make(_new(base, "files")), _new(base, "made")
        every = kinds(files | made.places(folder))
        every["paths"] = paths(every)
        chosen = args.kind or [*every, "examples"]
        if unknown := set(chosen) - {*every, "examples"}:
            parser.error(f"no kind {', '.join(unknown)}: use {', '.join(every)} or examples")
        done = {} if args.parts is None else finished(args.parts, args.count, args.seed)
        tallies |= {kind: done[kind] for kind in chosen if kind in done}
        variants = {kind: every[kind] for kind in every if kind in chosen and kind not in done}
        always = examples(every) if "examples" in {*chosen} - {*done} else {}
        read = {path for some in (every if always else variants).values() for one in some
                for path in one.files.values()}  # fmt: skip
        made.make(files, folder, {n for n, path in made.places(folder).items() if path in read})
        parts = attack(variants, always, args.count, args.seed, kept, args.jobs)
        for kind, part in chain([("valid files", warm_up(variants))], parts):
            tallies.setdefault(kind, Tally()).add(part)
            for failure in part.failures:
                print(f"{failure.name} ({failure.change}): {failure.fault}", flush=True)
            expected = len(always) if kind == "examples" else args.count
            if args.parts is not None and tallies[kind].outcomes.total() == expected:
                keep(args.parts / f"{kind}.json", tallies[kind], args.count, args.seed)
    print("\n".join(by_kind(tallies)))
    rows = show(numbers(tallies))
    print(f"{time.perf_counter() - start:.0f} s")
    if any(tally.failures for tally in tallies.values()):
        print(f"failed inputs are kept in {kept}")
    else:
        kept.rmdir()
    if args.json:
        args.json.write_text(json.dumps(to_json(rows), indent=1) + "\n")
    if args.page:
        args.page.write_text(page(rows, tallies, args.count, args.seed))
    return exit_code(rows, check=args.check)


def _new(base: str, name: str) -> Path:
    folder = Path(base) / name
    folder.mkdir()
    return folder


if __name__ == "__main__":
    sys.exit(main())
