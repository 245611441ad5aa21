r"""The precision ``auto``: bfloat16 where it is faster on this machine and harmless, else float32.

The network is timed once in float32 and in bfloat16 autocast on noisy images of the size that is
asked for, and the images that it denoises are compared. A denoised image in float32 differs from
the clean one by the error e of the denoiser, in bfloat16 by e + d. Its PSNR changes by

.. math:: 10 \log_{10} \left( |e + d|^2 / |e|^2 \right) \text{ dB},

whose size must not exceed :data:`CHANGE` on any image and noise level. No data are needed: the
clean images are ones that the prior itself denoised from strong noise. They are smoother than real
ones, so that e is smaller and the test is stricter.

The number of images in the test is fixed, so the choice depends on the machine, the prior and the
size of its images, but not on the batch size. It is kept in the cache folder, so that later runs on
the machine repeat it. ``MEDSCORE_PRECISION`` replaces it, for results that are comparable across
machines. Processors that are known to have no units for bfloat16 are not timed: they use float32.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.io.files import atomic_write
from medscore.io.json_files import parse_object, read_object
from medscore.io.machine import processor
from medscore.operators.ct.backends.cache import folder
from medscore.priors.base import Prior
from medscore.priors.network import NetworkPrior

PRECISIONS = ("float32", "bf16")

VARIABLE = "MEDSCORE_PRECISION"
"""Environment variable with the precision that ``auto`` stands for."""

CHANGE = 0.05
"""Largest change of the PSNR in dB."""

GAIN = 1.1
"""Factor by which bfloat16 must be faster, above the scatter of the timing."""

START = 2.0
"""Noise-to-signal ratio from which the clean images are denoised; data have a scale of about 1."""

RATIOS = (0.05, 0.3, 1.0)
"""Noise-to-signal ratios at which the precisions are compared."""

IMAGES = 4
"""Number of images in the test."""

SECONDS = 0.6
"""Time after which no other noise level is tested."""

VERSION = 1
"""Part of every key of the cache; to be changed with the test."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timing:
    """The result of the test.

    Attributes:
        float32: seconds of an evaluation in float32.
        bf16: seconds of an evaluation in bfloat16; infinity if the network cannot run in it.
        change: largest change of the PSNR in dB.
    """

    float32: float
    bf16: float
    change: float

    @property
    def best(self) -> str:
        """The precision to use."""
        harmless = self.change <= CHANGE  # False for NaN
        return "bf16" if harmless and GAIN * self.bf16 <= self.float32 else "float32"


@dataclass(frozen=True)
class Choice:
    """A precision and its origin.

    Attributes:
        name: float32 or bf16.
        source: what determined it, for provenance.json.
        timing: the test, if it was used.
        began: the record, as JSON, of the run that this one continues; empty if it is not known.
    """

    name: str
    source: str
    timing: Timing | None = None
    began: str = ""

    def record(self) -> dict[str, Any]:
        """The choice for JSON; that of the first part of an interrupted run."""
        if self.began:
            return parse_object(self.began)
        found: dict[str, Any] = {"used": self.name, "source": self.source}
        if self.timing is not None:
            found["ms"] = {p: _finite(1000 * getattr(self.timing, p)) for p in PRECISIONS}
            found["psnr_change_db"] = _finite(self.timing.change)
        return found


def choose_precision(
    asked: str,
    prior: Prior,
    shape: Sequence[int],
    device: torch.device | str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> Choice:
    """The precision of a run.

    ``auto`` is float32 for priors that are no networks.

    Args:
        asked: float32, bf16 or auto.
        prior: the prior, on the device.
        shape: shape of an image, (channel, H, W).
        device: device of the prior.
        clock: seconds, for the test.

    Raises:
        MedscoreError: the environment variable names no precision.
    """
    if asked != "auto":
        return Choice(asked, "given")
    if fixed := os.environ.get(VARIABLE):
        if fixed not in PRECISIONS:
            raise MedscoreError(
                f"the environment variable {VARIABLE} is {fixed!r}", hint="use float32 or bf16"
            )
        return Choice(fixed, VARIABLE)
    if not isinstance(prior, NetworkPrior):
        return Choice("float32", "no network")
    if emulates_bf16(device):
        return Choice("float32", "no bfloat16 units")
    timing = _cached(
        _key(prior, shape, torch.device(device)), lambda: measure(prior, shape, device, clock)
    )
    return Choice(timing.best, "timing", timing)


def emulates_bf16(device: torch.device | str) -> bool:
    """Whether a device is a processor that is known to have no units for bfloat16, so slower in it.

    Args:
        device: the device.
    """
    if torch.device(device).type != "cpu":
        return False
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    units = [known[name] for name in ("amx_bf16", "avx512_bf16") if name in known]
    return bool(units) and not any(units)


@torch.no_grad()
def measure(
    prior: Prior,
    shape: Sequence[int],
    device: torch.device | str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Time and compare both precisions.

    It ends after :data:`SECONDS`, but not before four evaluations, the first of each precision
    untimed.

    Args:
        prior: the prior, on the device.
        shape: shape of an image, (channel, H, W).
        device: device of the prior.
        clock: seconds.
    """
    begin, generator = clock(), torch.Generator().manual_seed(0)
    times: dict[str, list[float]] = {name: [] for name in PRECISIONS}
    change = 0.0

    def noisy(clean: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
        low, high = (prior.sde.ratio(torch.tensor(t)) for t in (prior.sde.eps, 1.0))
        t = prior.sde.time(torch.full((IMAGES,), ratio).clamp(float(low), float(high)))
        z = torch.randn(clean.shape, generator=generator)
        return prior.sde.marginal(clean, t.to(device), z.to(device)), t.to(device)

    def both(x: Tensor, t: Tensor) -> list[Tensor]:
        return [_timed(prior, x, t, name, times[name], clock) for name in PRECISIONS]

    try:
        clean, _ = both(*noisy(torch.zeros(IMAGES, *shape, device=device), START))
        for took in times.values():
            took.clear()
        for ratio in RATIOS:
            change = max(change, psnr_change(clean, *both(*noisy(clean, ratio))), key=_worst)
            if clock() - begin > SECONDS:
                break
    except (RuntimeError, TypeError) as error:  # an operation that bf16 lacks, in a user's network
        if not times["float32"]:
            raise
        log.info("the network cannot run in bf16: %s", error)
        return Timing(times["float32"][-1], math.inf, math.inf)
    return Timing(min(times["float32"]), min(times["bf16"]), change)


def psnr_change(clean: Tensor, exact: Tensor, rounded: Tensor) -> float:
    """The largest change of the PSNR over a batch of images, in dB.

    Args:
        clean: the clean images, (batch, ...).
        exact: what the network denoised in float32.
        rounded: what it denoised in the other precision.
    """
    before, after = ((clean - x).double().flatten(1).square().mean(1) for x in (exact, rounded))
    change = (10 * torch.log10(after / before)).abs()
    return float(torch.where(after == before, 0.0, change).max())


def _timed(
    prior: Prior, x: Tensor, t: Tensor, name: str, times: list[float], clock: Callable[[], float]
) -> Tensor:
    begin = clock()
    with torch.autocast(x.device.type, torch.bfloat16, enabled=name == "bf16"):
        found = prior.denoise(x, t)
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)
    times.append(clock() - begin)
    return found


def _key(prior: NetworkPrior, shape: Sequence[int], device: torch.device) -> str:
    """Everything that the test depends on, as a hash."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    threads = torch.get_num_threads()
    machine = processor(), torch.backends.cpu.get_cpu_capability(), gpu, torch.__version__, threads
    parts = VERSION, machine, list(shape), prior.sha256 or _weights(prior)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _weights(prior: NetworkPrior) -> str:
    """A hash of a network that was not loaded from a file."""
    digest = hashlib.sha256(repr(prior).encode())
    for name, tensor in prior.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _cached(key: str, test: Callable[[], Timing]) -> Timing:
    """The test of a key, read from the cache, or made and stored by one process at a time."""
    path = folder() / "precision" / f"{key}.json"
    if (found := _stored(path)) is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if (found := _stored(path)) is None:
                found = test()
                times = {k: v if math.isfinite(v) else None for k, v in asdict(found).items()}
                atomic_write(path, json.dumps(times).encode())  # JSON has no infinity
            return found
    except (OSError, MedscoreError) as error:
        log.warning("%s: the precision's timing cannot be stored (%s)", path, error)
        return found if found is not None else test()


def _stored(path: Path) -> Timing | None:
    if not path.exists():
        return None
    try:
        found = [read_object(path)[name] for name in ("float32", "bf16", "change")]
        return Timing(*(math.inf if value is None else float(value) for value in found))
    except (MedscoreError, ValueError, KeyError, TypeError) as error:
        what = error.what if isinstance(error, MedscoreError) else f"no timing: {error!r}"
        log.warning("%s: %s; the precision is timed again", path, what)
        path.unlink(missing_ok=True)
        return None


def _worst(change: float) -> float:
    """Order by size, with NaN as the largest."""
    return math.inf if math.isnan(change) else change


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
