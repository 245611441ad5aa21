"""Speed beside other programs: projector and network on idle cores and with company.

    python benchmarks/company.py                 # prints the table
    python benchmarks/company.py --check         # exit code 1 if a target is missed
    python benchmarks/company.py --page docs/benchmarks/company.md
    python benchmarks/company.py --from-json out.json --page docs/benchmarks/company.md

The company is a process on each core that computes without pause; ASTRA, whose CPU projector
``linear`` uses one thread, gets the same. The measured calls run in processes of their own: one
with the environment that the command line sets, one with torch's defaults; they alternate. One
core's fair share beside one busy process is half the speed of one thread on an idle core. Needs the
package astra-toolbox (the extra ``bench``) and Linux. Takes about 1.5 minutes; other programs must
be quiet.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pydicom.data
import torch
from number import Number, exit_code, from_json, machine, show, table, to_json

import medscore
from medscore.cli.environment import COUNT, OTHERS, OWN, settings
from medscore.io.machine import allowed_cpus
from medscore.priors.precision import CHANGE, PRECISIONS, measure as timed

ROUNDS = 2
"""Pairs of processes on idle cores; speed depends on where the memory of a process lies."""

BURSTS = 5
"""Bursts of calls in each of these processes; the best median of a burst counts."""

PEER = {256: "ASTRA, 256x256", 512: "ASTRA, 512x512"}
OURS = {
    "256x256, one image": 1, "256x256, 16 images": 16,
    "512x512, one image": 1, "512x512, 16 images": 16,
}  # fmt: skip
"""Number of images of each projector call."""

FASTER = {"256x256, 16 images": 8, "512x512, one image": 5, "512x512, 16 images": 5}
"""Least speed-up over ASTRA that is asked for."""

NETWORK = ("network, one image", "network, 4 images")

INTRO = """# Speed beside other programs

Researchers share machines. When the threads of a program wait for each other busily, a single other
program on the same cores makes it many times slower. The `medscore` command sets how its threads
wait; [Speed](../speed.md) says how, and what to set when you use the library from your own program.
The first rows are about `--precision auto`, which chooses between float32 and bfloat16 once on each
machine.

Written by `python benchmarks/company.py --check --page docs/benchmarks/company.md`; do not edit by
hand.

Machine: {machine}. *Company* is a process on each core that computes without pause. ASTRA is its
CPU projector `linear`, with the same company. Times are for a projection and a back-projection of a
call's images together, or for one evaluation of the prior `ct-128`: medians of the best of ten
bursts on idle cores, means with company. One core's fair share is half the speed of one thread on
an idle core.
"""


class Worker:
    """A process that times calls on request.

    Args:
        environment: variables to set; those that choose threads and waiting are removed first.
        cache: folder of the projection matrices.
    """

    def __init__(self, environment: dict[str, str], cache: str) -> None:
        kept = {k: v for k, v in os.environ.items() if k not in (COUNT, *OWN, *OTHERS)}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("company_work.py"))],
            env={**kept, "MEDSCORE_CACHE": cache, **environment},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, call: str, seconds: float, threads: int = 0) -> list[float]:
        """The seconds of each repetition of a call.

        Args:
            call: a name in ``company_work.MAKERS``.
            seconds: duration of the repetitions.
            threads: number of threads; 0 for the process's own.
        """
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        print(json.dumps({"call": call, "seconds": seconds, "threads": threads}), file=stdin)
        stdin.flush()
        found: list[float] = json.loads(stdout.readline())
        return found

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


@contextmanager
def company(cpus: tuple[int, ...]) -> Iterator[None]:
    """A busy process on each of some processors.

    Args:
        cpus: their numbers.
    """
    code = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"
    busy = [subprocess.Popen([sys.executable, "-c", code, str(cpu)]) for cpu in cpus]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def measure() -> Iterator[Number]:
    """All measured values, one after another."""
    with tempfile.TemporaryDirectory() as cache:
        calls = (*OURS, *NETWORK)
        rounds = []
        for _ in range(ROUNDS):
            with started(cache) as (ours, plain):
                rounds.append({call: alternating(call, ours, plain) for call in calls})
                alone = {call: statistics.median(ours(call, 0.2, 1)) for call in calls}
        idle = {c: tuple(min(r[c][i] for r in rounds) for i in (0, 1)) for c in calls}
        for call, (mine, other) in idle.items():
            yield Number(f"idle, {call}", 1000 * mine, "ms")
            yield Number(f"idle, {call}: with torch's default waiting", 1000 * other, "ms")
        loss = statistics.median(mine / other for mine, other in idle.values()) - 1
        yield Number("idle: time lost by our waiting, median of calls", 100 * loss, "%", None, 5)
        with company(allowed_cpus()), started(cache) as (ours, plain):
            yield from beside(ours, plain, alone)


@contextmanager
def started(cache: str) -> Iterator[tuple[Worker, Worker]]:
    """A process with the waiting that the command line sets, and one with torch's default.

    Args:
        cache: folder of the projection matrices.
    """
    workers = Worker(settings({}, None), cache), Worker({}, cache)
    try:
        yield workers
    finally:
        for worker in workers:
            worker.end()


def alternating(call: str, ours: Worker, plain: Worker) -> tuple[float, float]:
    """Seconds of a call with our waiting and with torch's, on idle cores.

    Args:
        call: name of the call.
        ours: the process with our waiting.
        plain: the process with torch's.
    """
    found: tuple[list[float], list[float]] = ([], [])
    for worker in (ours, plain):
        worker(call, 0.01)  # the first repetition is slower
    for _ in range(BURSTS):
        for worker, times in zip((ours, plain), found, strict=True):
            time.sleep(0.03)  # torch's threads wait busily for milliseconds after their last call
            times.append(statistics.median(worker(call, 0.08)))
    return min(found[0]), min(found[1])


def beside(ours: Worker, plain: Worker, alone: dict[str, float]) -> Iterator[Number]:
    """The measured values with company.

    Args:
        ours: the process with our waiting.
        plain: the process with torch's.
        alone: seconds of each call by one thread on an idle core.
    """
    for call in (*PEER.values(), *alone):
        ours(call, 0.01)
    peer = {size: statistics.mean(ours(name, 2.5)) for size, name in PEER.items()}
    for size, value in peer.items():
        yield Number(f"with company, {PEER[size]}", 1000 * value, "ms")
    for call, one in alone.items():
        value = statistics.mean(ours(call, 3.0))
        yield Number(f"with company, {call}", 1000 * value, "ms")
        if call in OURS:
            speed = peer[int(call[:3])] * OURS[call] / value
            yield Number(f"with company, {call}: speed-up over ASTRA", speed, "x", FASTER.get(call))
        share = 100 * 2 * one / value
        yield Number(f"with company, {call}: of one core's fair share", share, "%", 60)
    call = NETWORK[0]
    plain(call, 0.01)
    value = statistics.mean(plain(call, 1.0))
    yield Number(f"with company, {call}: with torch's default waiting", 1000 * value, "ms")


def precision() -> Iterator[Number]:
    """Duration and choice of the test that ``auto`` makes, and a reconstruction in both."""
    path = pydicom.data.get_testdata_file("693_J2KI.dcm")
    image = medscore.load_image(path, size=128)
    scan = medscore.simulate(image, "sparse-ct", views=23)
    prior = medscore.load_prior("ct-128")
    begin = time.perf_counter()
    timing = timed(prior, (1, 128, 128))
    seconds = time.perf_counter() - begin
    psnr = {}
    yield Number("precision auto: duration of the test", seconds, "s", None, 1)
    yield Number("precision auto: float32 over bf16, time", timing.float32 / timing.bf16, "x")
    yield Number("precision auto: takes bf16 (1) or float32 (0)", float(timing.best == "bf16"))
    yield Number("precision auto: change of the PSNR in the test", timing.change, "dB")
    for name in PRECISIONS:
        found = medscore.reconstruct(scan, prior, precision=name)
        psnr[name] = medscore.quality(found, image).psnr
        yield Number(f"a head slice, 23 views, one sample, {name}: PSNR", psnr[name], "dB")
        yield Number(f"a head slice, 23 views, one sample, {name}: time", found.seconds, "s")
    change = abs(psnr["bf16"] - psnr["float32"])
    yield Number("a head slice: change of the PSNR by bf16", change, "dB", None, CHANGE)


def page(found: dict[str, Any], numbers: list[Number]) -> str:
    """The benchmark page of the docs.

    Args:
        found: machine of a run, as ``--json`` stores it.
        numbers: its measured values.
    """
    return "\n".join([INTRO.format(machine=found["machine"]), *table(numbers)]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--page", type=Path, help="write the Markdown page to this file")
    parser.add_argument("--from-json", type=Path, help="use stored results instead of a new run")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    options = parser.parse_args()
    if options.from_json:
        found = json.loads(options.from_json.read_text())
        numbers = show(from_json(found["numbers"]))
    else:
        torch.set_num_threads(len(allowed_cpus()))
        numbers = show(chain(precision(), measure()))
        found = {"machine": machine(), "numbers": to_json(numbers)}
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    if options.page:
        options.page.write_text(page(found, numbers))
    return exit_code(numbers, check=options.check)


if __name__ == "__main__":
    sys.exit(main())
